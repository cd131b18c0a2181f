package provider

// Network is a place to send from, with what it usually does to outgoing mail
// (standards NET). It says "commonly", never "always": the probe decides.
type Network struct {
	ID      string   // the row of the standards' list: "NET-4"
	Name    string   // "digitalocean"
	Title   string   // "DigitalOcean"
	Kind    string   // cloud, access, local
	Vendors []string // how machines there name their maker (DMI), lower case, a part suffices
	Names   []string // domains below which addresses there have their reverse names
	Ports   []Filter // 25, 465, 587 and 2525
	WayOut  string   // what to do
	Source  string
	Checked string // date, 2006-01-02
	// Confidence is that of each Filter that has none of its own.
	Confidence string
}

// Filter is what a network commonly does to one outgoing port.
type Filter struct {
	Port       uint16
	State      string // one of the constants below
	How        string // "silent timeout until unlocked"; "" if there is no more to say
	Confidence string
}

// What a network does to a port.
const (
	Open        = "open"
	Blocked     = "blocked"     // closed, or silently dropped
	Restricted  = "restricted"  // closed or slowed down unless asked for
	Intercepted = "intercepted" // somebody in between answers or changes the dialogue
	Mixed       = "mixed"       // depends on the place
	Policy      = "policy"      // depends on its administrator
)

// On returns what the network commonly does to a port.
func (n Network) On(port uint16) (Filter, bool) {
	for _, f := range n.Ports {
		if f.Port == port {
			return f, true
		}
	}
	return Filter{}, false
}
