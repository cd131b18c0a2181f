// Go's net/smtp.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/smtp"
	"os"
)

func main() {
	host, mode := os.Getenv("MAIL_HOST"), os.Getenv("MAIL_TLS")
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(os.Getenv("MAIL_CA")); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	trust := &tls.Config{ServerName: host, RootCAs: roots}
	c, err := dial(net.JoinHostPort(host, os.Getenv("MAIL_PORT")), host, mode, trust)
	check(err)
	if mode == "starttls" {
		check(c.StartTLS(trust))
	}
	if mode != "none" {
		check(c.Auth(smtp.PlainAuth("", os.Getenv("MAIL_USER"), os.Getenv("MAIL_PASSWORD"), host)))
	}
	check(c.Mail("app@example.com"))
	check(c.Rcpt("user@example.com"))
	w, err := c.Data()
	check(err)
	_, err = fmt.Fprintf(w, "From: app@example.com\r\nTo: user@example.com\r\nSubject: %s\r\n\r\nIt works.\r\n", os.Getenv("MAIL_SUBJECT"))
	check(err)
	check(w.Close())
	check(c.Quit())
}

func dial(addr, host, mode string, trust *tls.Config) (*smtp.Client, error) {
	if mode != "tls" {
		return smtp.Dial(addr)
	}
	conn, err := tls.Dial("tcp", addr, trust)
	if err != nil {
		return nil, err
	}
	return smtp.NewClient(conn, host)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
