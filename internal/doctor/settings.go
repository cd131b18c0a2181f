package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"paquebot/internal/mail"
)

// Setting is the exact configuration of one program for an endpoint, to be
// pasted as it is.
type Setting struct {
	Name  string   // "postfix": what --format takes
	Title string   // "Postfix"
	Lines []string //
}

// Usual are the settings shown without being asked for.
var Usual = []string{"postfix", "nodemailer", "paquebot"}

// Settings are those of a recommendation for every program known, in the order
// of their names.
func (r *Report) Settings() []Setting {
	rec := r.Recommendation
	if rec == nil || rec.Mode == mail.Opportunistic || r.Target.Kind == KindSelf { // a way out, or ours: nobody's relay
		return nil
	}
	s := setter{host: rec.Host, port: rec.Port, tls: rec.Mode == mail.Implicit, user: "USER", pin: r.distrusts()}
	if p := r.Target.Provider; p != nil {
		s.provider = p.Name
		if r.Target.Region != nil && r.Target.Region.Name != "" && r.Target.Region.Name != p.Regions[0].Name {
			s.region = r.Target.Region.Name
		}
		s.user = cmp.Or(p.Auth.User, s.user)
		s.order = len(p.Ports) > 0 && p.TryOrder()[0].Number == rec.Port
	}
	all := []Setting{
		{"postfix", "Postfix", s.postfix()}, {"nodemailer", "nodemailer", s.nodemailer()}, {"paquebot", "paquebot", s.paquebot()},
		{"exim", "Exim", s.exim()}, {"msmtp", "msmtp", s.msmtp()}, {"phpmailer", "PHPMailer", s.phpmailer()},
		{"django", "Django", s.django()}, {"wordpress", "WordPress", s.wordpress()}, {"smtplib", "Python", s.smtplib()},
		{"laravel", "Laravel", s.laravel()}, {"rails", "Rails", s.rails()}, {"spring", "Spring", s.spring()},
	}
	return all
}

// Formats are the names Settings knows.
func Formats() []string {
	r := Report{Recommendation: &Recommendation{Mode: mail.Verify}}
	var out []string
	for _, s := range r.Settings() {
		out = append(out, s.Name)
	}
	slices.Sort(out)
	return out
}

type setter struct {
	host, provider, region, user string
	port                         uint16
	tls                          bool // from the first byte
	order                        bool // the port a relay tries first anyway
	pin                          bool // other ports fail in a way that a relay must not pass by
}

// distrusts reports a fault at which our relay stops rather than going on to
// the next port, because it is none of reachability (SH-3).
func (r *Report) distrusts() bool {
	return r.has("DIAG-32", "DIAG-33", "DIAG-34", "DIAG-35", "DIAG-36", "DIAG-37", "DIAG-38", "DIAG-39") != nil
}

func settingLines(format string, args ...any) []string {
	return strings.Split(strings.TrimSpace(fmt.Sprintf(format, args...)), "\n")
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

func (s setter) postfix() []string {
	out := settingLines("relayhost = [%s]:%d", s.host, s.port)
	if s.tls {
		out = append(out, "smtp_tls_wrappermode = yes")
	}
	return append(out, "smtp_tls_security_level = secure", "smtp_sasl_auth_enable = yes",
		"smtp_sasl_password_maps = static:"+s.user+":PASSWORD", "smtp_sasl_security_options = noanonymous")
}

func (s setter) nodemailer() []string {
	return settingLines("{ host: '%s', port: %d, %s,\n  auth: { user: '%s', pass } }", s.host, s.port, choose(s.tls, "secure: true", "requireTLS: true"), s.user)
}

func (s setter) paquebot() []string {
	out := settingLines("[smarthost.relay]\nhost = %q", s.host)
	if s.provider != "" {
		out = settingLines("[smarthost.%s]\nprovider = %q", s.provider, s.provider)
		if s.region != "" {
			out = append(out, fmt.Sprintf("region = %q", s.region))
		}
	}
	if s.provider == "" || s.user == "USER" {
		out = append(out, fmt.Sprintf("username = %q", s.user))
	}
	out = append(out, `password = { file = "/etc/paquebot/relay.key" }`)
	switch {
	case s.provider == "" || s.pin:
		out = append(out, fmt.Sprintf("ports = [%d]", s.port))
	case !s.order:
		out = append(out, fmt.Sprintf("# ports = [%d]   not needed: it finds this port by itself", s.port))
	}
	return out
}

func (s setter) exim() []string {
	return settingLines("relay:\n  driver = smtp\n  hosts = %s\n  port = %d\n  protocol = %s\n  hosts_require_tls = *\n  tls_verify_hosts = *\n  hosts_require_auth = *",
		s.host, s.port, choose(s.tls, "smtps", "smtp"))
}

func (s setter) msmtp() []string {
	return settingLines("host %s\nport %d\ntls on\ntls_starttls %s\nauth on\nuser %s\npasswordeval cat /etc/relay.key", s.host, s.port, choose(s.tls, "off", "on"), s.user)
}

func (s setter) phpmailer() []string {
	return settingLines("$mail->isSMTP();\n$mail->Host = '%s';\n$mail->Port = %d;\n$mail->SMTPSecure = PHPMailer::ENCRYPTION_%s;\n$mail->SMTPAuth = true;\n$mail->Username = '%s';",
		s.host, s.port, choose(s.tls, "SMTPS", "STARTTLS"), s.user)
}

func (s setter) django() []string {
	return settingLines("EMAIL_HOST = %q\nEMAIL_PORT = %d\n%s = True\nEMAIL_HOST_USER = %q", s.host, s.port, choose(s.tls, "EMAIL_USE_SSL", "EMAIL_USE_TLS"), s.user)
}

func (s setter) wordpress() []string {
	return settingLines("WP Mail SMTP, FluentSMTP, Post SMTP: \"Other SMTP\"\nHost: %s\nEncryption: %s\nPort: %d\nAuto TLS: %s\nAuthentication: on, user name %s",
		s.host, choose(s.tls, "SSL", "TLS"), s.port, choose(s.tls, "off", "on"), s.user)
}

func (s setter) smtplib() []string {
	if s.tls {
		return settingLines("smtp = smtplib.SMTP_SSL(%q, %d, context=ssl.create_default_context())\nsmtp.login(%q, password)", s.host, s.port, s.user)
	}
	return settingLines("smtp = smtplib.SMTP(%q, %d)\nsmtp.starttls(context=ssl.create_default_context())\nsmtp.login(%q, password)", s.host, s.port, s.user)
}

func (s setter) laravel() []string {
	out := settingLines("MAIL_MAILER=smtp\nMAIL_SCHEME=%s\nMAIL_HOST=%s\nMAIL_PORT=%d\nMAIL_USERNAME=%s", choose(s.tls, "smtps", "smtp"), s.host, s.port, s.user)
	if !s.tls { // without it Laravel goes on in clear where STARTTLS is missing (PORT-8)
		out = append(out, "# in config/mail.php, mailers.smtp:  'require_tls' => true,")
	}
	return out
}

func (s setter) rails() []string {
	return settingLines("config.action_mailer.smtp_settings = {\n  address: '%s', port: %d, %s,\n  user_name: '%s', password:, authentication: :plain\n}",
		s.host, s.port, choose(s.tls, "tls: true", "enable_starttls: true"), s.user)
}

func (s setter) spring() []string {
	return settingLines("spring.mail.host=%s\nspring.mail.port=%d\nspring.mail.username=%s\nspring.mail.properties.mail.smtp.auth=true\nspring.mail.properties.mail.smtp.ssl.checkserveridentity=true\nspring.mail.properties.mail.smtp.%s=true",
		s.host, s.port, s.user, choose(s.tls, "ssl.enable", "starttls.required"))
}
