package e2e

import (
	"fmt"
	"strings"
)

// Who is where. A test takes a server with newServer and a peer's place with
// newPlace; both have their names in the zone from the start.
const (
	postfixAddr  = "45.77.2.2"
	chasquidAddr = "45.77.2.3"
	dovecotAddr  = "45.77.2.4"
	knotAddr     = "45.77.2.53"
	deadAddr     = "45.77.2.250" // refuses every connection
	voidAddr     = "2a01:77::1"  // swallows every packet

	// Imitations of providers, under the providers' own names (imitation_test.go).
	sesAddr      = "45.77.2.21"
	mailgunAddr  = "45.77.2.22"
	sendgridAddr = "45.77.2.23"
	pmtaAddr     = "45.77.2.24"
	pmtaBusyAddr = "45.77.2.25"
	m365Addr     = "45.77.2.26"
	entraAddr    = "45.77.2.27"

	maxServers = 99
	maxPlaces  = 99
)

func serverName(n int) string { return fmt.Sprintf("s%02d.paquebot.test", n) }
func serverAddr(n int) string { return fmt.Sprintf("45.77.1.%d", n) }
func placeName(n int) string  { return fmt.Sprintf("p%02d.test", n) }
func placeAddr(n int) string  { return fmt.Sprintf("45.77.2.%d", 100+n) }

// zone is the whole DNS: a root zone, so that any other name does not exist.
func zone() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	line("$TTL 60")
	line(". SOA ns.test. hostmaster.test. 1 3600 600 86400 60")
	line(". NS ns.test.")
	line("ns.test. A %s", knotAddr)

	line("postfix.test. MX 10 mx.postfix.test.")
	line("mx.postfix.test. A %s", postfixAddr)
	line("chasquid.test. MX 10 mx.chasquid.test.")
	line("mx.chasquid.test. A %s", chasquidAddr)

	line("other.chasquid.test. A %s", chasquidAddr) // a name its certificate is not for
	line("null.test. MX 0 .")                       // RFC 7505
	line("dead.test. A %s", deadAddr)
	line("dead-mx.test. MX 10 dead.test.")
	line("inside.test. MX 10 localhost.inside.test.")
	line("inside.test. MX 20 lan.inside.test.")
	line("localhost.inside.test. A 127.0.0.1")
	line("lan.inside.test. A 192.168.1.1")
	line("lost.test. MX 10 nowhere.test.") // the exchanger has no address
	// broken.test is a zone of its own without content: SERVFAIL (world_test.go).

	line("email-smtp.eu-west-1.amazonaws.com. A %s", sesAddr)
	line("smtp.eu.mailgun.org. A %s", mailgunAddr)
	line("smtp.sendgrid.net. A %s", sendgridAddr)
	line("pmta.corp.test. A %s", pmtaAddr)
	line("pmta-busy.corp.test. A %s", pmtaBusyAddr)
	line("smtp.office365.com. A %s", m365Addr)
	line("login.microsoftonline.com. A %s", entraAddr)

	for n := 1; n <= maxServers; n++ {
		name := serverName(n)
		line("%s. A %s", name, serverAddr(n))
		line("%s. MX 10 %s.", name, name)
		line("loop.%s. MX 10 %s.", name, name)    // a domain that is not ours, with us as its exchanger
		line("loop.%s. MX 20 dead.test.", name)   // beyond us: must not be tried
		line("backup.%s. MX 10 dead.test.", name) // before us
		line("backup.%s. MX 20 %[1]s.", name)     // so only dead.test may be tried
		line("*.app.%s. MX 10 %[1]s.", name)      // any name below app
		line("mail.%s. CNAME %[1]s.", name)       // the name people type
		line("_dmarc.%s. TXT \"v=DMARC1; p=none\"", name)
	}
	for n := 1; n <= maxPlaces && 100+n < 250; n++ {
		name := placeName(n)
		line("mx.%s. A %s", name, placeAddr(n))
		line("%s. MX 10 mx.%[1]s.", name)
		line("both.%s. A %s", name, placeAddr(n))
		line("both.%s. AAAA %s", name, voidAddr)      // nobody is heard there
		line("implicit.%s. A %s", name, placeAddr(n)) // no MX: the address itself (RFC 5321 section 5.1)
		line("dead.%s. A %s", name, deadAddr)
		line("dead-mx.%s. MX 10 dead.%[1]s.", name)
		line("second.%s. MX 10 dead.%[1]s.", name) // the first exchanger is dead
		line("second.%s. MX 20 mx.%[1]s.", name)
		line("alias.%s. CNAME %[1]s.", name) // MX-2
	}
	return b.String()
}
