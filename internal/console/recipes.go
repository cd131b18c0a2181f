package console

import "fmt"

// Recipe is what makes one language or framework send here: lines to paste, with
// this instance's own ports.
type Recipe struct {
	Name string // "Python"
	Note string // what must have been done once, or where the lines go; may be ""
	Port uint16
	Like uint16
	Text string
}

// Recipes returns them, those that can be run as they stand first. caURL is
// where this instance serves its CA.
func Recipes(p Ports, caURL string) []Recipe {
	var out []Recipe
	for _, s := range Snippets(p, caURL) {
		name := s.Tool
		switch {
		case name == "nodemailer":
			name = "Node.js"
		case s.Like == 25:
			name = "server to server"
		}
		note := s.What
		if first := s.First(); first != "" {
			note += "; once before: " + first
		}
		out = append(out, Recipe{name, note, s.Port, s.Like, s.Text})
	}
	if p.Submission == 0 {
		return out
	}
	more := func(name, note, text string) {
		out = append(out, Recipe{name, note, p.Submission, 587, text})
	}
	more("Go", "save as main.go, go run main.go", goSnippet(p.Submission, caURL))
	more("PHP", "composer require phpmailer/phpmailer", fmt.Sprintf(`<?php
require 'vendor/autoload.php';
copy('%s', 'ca.pem');
$m = new PHPMailer\PHPMailer\PHPMailer(true);
$m->isSMTP();
$m->Host = 'localhost'; $m->Port = %d; $m->SMTPSecure = 'tls';
$m->SMTPAuth = true; $m->Username = 'app'; $m->Password = 'any';
$m->SMTPOptions = ['ssl' => ['cafile' => 'ca.pem']];
$m->setFrom('me@example.com'); $m->addAddress('you@example.com');
$m->Subject = 'hello'; $m->Body = 'It works.';
$m->send();`, caURL, p.Submission))
	more("Ruby", "gem install net-smtp", fmt.Sprintf(`require "net/smtp"
require "open-uri"
File.write("ca.pem", URI.open("%s").read)
tls = OpenSSL::SSL::SSLContext.new.tap { |c| c.set_params(ca_file: "ca.pem") }
smtp = Net::SMTP.new("localhost", %d)
smtp.enable_starttls(tls)
smtp.start("localhost", "app", "any", :plain) do |s|
  s.send_message "From: me@example.com\nTo: you@example.com\nSubject: hello\n\nIt works.\n",
    "me@example.com", "you@example.com"
end`, caURL, p.Submission))
	more("Django", "settings.py; SSL_CERT_FILE=ca.pem in the environment", fmt.Sprintf(`EMAIL_HOST = "localhost"
EMAIL_PORT = %d
EMAIL_USE_TLS = True
EMAIL_HOST_USER = "app"
EMAIL_HOST_PASSWORD = "any"`, p.Submission))
	more("Laravel", ".env", fmt.Sprintf(`MAIL_MAILER=smtp
MAIL_HOST=localhost
MAIL_PORT=%d
MAIL_USERNAME=app
MAIL_PASSWORD=any`, p.Submission))
	more("Spring", "application.properties", fmt.Sprintf(`spring.mail.host=localhost
spring.mail.port=%d
spring.mail.username=app
spring.mail.password=any
spring.mail.properties.mail.smtp.auth=true
spring.mail.properties.mail.smtp.starttls.required=true
spring.mail.properties.mail.smtp.ssl.trust=localhost`, p.Submission))
	return out
}

func goSnippet(port uint16, caURL string) string {
	return fmt.Sprintf(`package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/smtp"
)

func main() {
	res, err := http.Get("%s")
	check(err)
	ca, err := io.ReadAll(res.Body)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c, err := smtp.Dial("localhost:%d")
	check(err)
	check(c.StartTLS(&tls.Config{ServerName: "localhost", RootCAs: roots}))
	check(c.Auth(smtp.PlainAuth("", "app", "any", "localhost")))
	check(c.Mail("me@example.com"))
	check(c.Rcpt("you@example.com"))
	w, err := c.Data()
	check(err)
	_, err = io.WriteString(w, "From: me@example.com\r\nTo: you@example.com\r\nSubject: hello\r\n\r\nIt works.\r\n")
	check(err)
	check(w.Close())
	check(c.Quit())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}`, caURL, port)
}
