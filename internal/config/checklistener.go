package config

import (
	"fmt"
	"net"
	"time"
)

// standardPort is whose port it is (standards §2).
var standardPort = map[string]string{"25": "mx", "465": "submissions", "587": "submission"}

func (c *Config) checkListeners(r *report) {
	if len(c.Listeners) == 0 {
		r.faultDo("listener", "delete this line for the four standard ports", "with no listener the server takes no mail")
	}
	seen := map[string]int{}
	for i, l := range c.Listeners {
		path := fmt.Sprintf("listener[%d]", i)
		host, port, err := net.SplitHostPort(l.Address)
		if err != nil || !isPort(port) || host != "" && !isAddr(host) {
			r.faultDo(path+".address", `write ":587" or "192.0.2.1:587"`, "address %q is not an IP address with a port", l.Address)
			continue
		}
		if j, twice := seen[l.Address]; twice && port != "0" {
			r.faultDo(path+".address", "delete one of them", "address %q is listened on already by listener %d", l.Address, j+1)
		}
		seen[l.Address] = i
		if l.Role == "" {
			r.faultDo(path+".role", `say role = "mx", "submission" or "submissions"`, "listener %q has no role", l.Address)
			continue
		}
		l.checkRole(r, path, port)
		l.checkExtras(r, path, host)
	}
	for a := range seen { // ":25" and "192.0.2.1:25" cannot both be had
		host, port, _ := net.SplitHostPort(a)
		if j, all := seen[":"+port]; host != "" && all && port != "0" {
			r.faultDo(fmt.Sprintf("listener[%d].address", seen[a]), "delete one of them, or give each an address of its own",
				"address %q is listened on already by listener %d, which takes all addresses", a, j+1)
		}
	}
}

// checkRole keeps one port to one job (P5).
func (l Listener) checkRole(r *report, path, port string) {
	if job, ok := standardPort[port]; ok && job != l.Role && !l.AnyPort {
		why := map[string]string{
			"25":  "25 is where servers bring mail, without AUTH",
			"465": "clients begin with TLS on 465",
			"587": "clients expect STARTTLS and AUTH on 587",
		}[port]
		r.faultDo(path+".role", fmt.Sprintf("%s: say role = %q, take another port, or add any_port = true", why, job),
			"port %s is not for role %q", port, l.Role)
	}
	if l.Role == "mx" && l.InsecureAuth {
		r.faultDo(path+".insecure_auth", "delete this line, or make it a submission listener", "an mx listener never offers AUTH")
	}
	if l.Role != "mx" && l.GreetingDelay > 0 {
		r.faultDo(path+".greeting_delay", "delete this line", "greeting_delay is for mx listeners; here it would only make people wait")
	}
	if l.GreetingDelay > 10*time.Second {
		r.faultDo(path+".greeting_delay", "at most 10s", "greeting_delay of %s makes honest servers hang up", FormatDuration(l.GreetingDelay))
	}
}

func (l Listener) checkExtras(r *report, path, host string) {
	if l.InsecureAuth && l.Role != "mx" && !isLoopback(host) {
		r.faultDo(path+".insecure_auth", "passwords would cross the network in clear; listen on 127.0.0.1, or delete this line",
			"insecure_auth is for loopback only, and %q is not", l.Address)
	}
	for i, p := range l.Trusted {
		if p.Bits() == 0 {
			r.faultDo(fmt.Sprintf("%s.trusted[%d]", path, i), "name the networks of your own machines", "trusting %s makes this server an open relay", p)
		}
	}
	for i, p := range l.XClient {
		if p.Bits() == 0 {
			r.faultDo(fmt.Sprintf("%s.xclient[%d]", path, i), "name the proxy's address", "xclient from %s lets anybody pretend to be anybody", p)
		}
	}
	if l.MaxConnections < 1 {
		r.faultDo(path+".max_connections", "delete this line for the default", "a listener with max_connections = %d takes nobody", l.MaxConnections)
	}
}
