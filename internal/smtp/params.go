package smtp

import (
	"strconv"
	"strings"
	"time"
)

// ParamSet names parameters of MAIL and RCPT. A session passes those of the
// extensions it advertised in its present state (SRV-27).
type ParamSet uint16

const (
	ParamSize       ParamSet = 1 << iota // RFC 1870
	ParamBody                            // RFC 6152
	ParamBinary                          // the value BINARYMIME of BODY (RFC 3030)
	ParamUTF8                            // RFC 6531
	ParamDSN                             // RET, ENVID, NOTIFY, ORCPT (RFC 3461)
	ParamAuth                            // RFC 4954 §5
	ParamBy                              // RFC 2852
	ParamHold                            // HOLDFOR, HOLDUNTIL (RFC 4865)
	ParamPriority                        // RFC 6710
	ParamRequireTLS                      // RFC 8689
)

// MailParams are the parameters of a MAIL command. A zero field was not given.
type MailParams struct {
	Size       int64  // octets announced; a hint, never trusted (EXT-1)
	Body       string // "7BIT", "8BITMIME", "BINARYMIME"
	UTF8       bool
	Return     string // "FULL", "HDRS"
	EnvelopeID string // decoded
	Auth       string // decoded; "<>" for a sender who is not known
	By         By
	HoldFor    time.Duration
	HoldUntil  time.Time
	Priority   Priority
	RequireTLS bool
}

// By is the value of BY= (RFC 2852 §4).
type By struct {
	Seconds int64 // from now; may be 0 or negative in mode N
	Mode    byte  // 'R' or 'N'; 0 when the parameter was not given
	Trace   bool
}

// Priority is the value of MT-PRIORITY= (RFC 6710 §4).
type Priority struct {
	Given bool
	Value int // -9 to 9
}

// RcptParams are the parameters of a RCPT command.
type RcptParams struct {
	Notify       NotifySet
	Original     string // ORCPT "type;address", the address decoded
	OriginalType string // of it, "rfc822" or "utf-8", in lower case
}

// NotifySet is the value of NOTIFY= (RFC 3461 §4.1); 0 when it was not given.
// Its bits are those of the house's own type for it, so they convert.
type NotifySet uint8

const (
	NotifyNever NotifySet = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// The refusals of a parameter (SRV-27, RC-13, RC-14).
func badValue(name string) Reply {
	return BadArg.WithText("Bad value of parameter %s", name)
}
func noParam(name string) Reply {
	return BadParam.WithText("Parameter %s not recognised or not available here", Printable(name))
}

// ParseMailParams reads what follows the path of MAIL. A parameter outside
// allowed is refused as if it did not exist. A parameter may be repeated with
// the same value (SRV-27). The error is a Reply.
func ParseMailParams(s string, allowed ParamSet) (MailParams, error) {
	var p MailParams
	var seen [16]string // names, each once: as many as there are
	count := 0
	for {
		word, rest, err := cutParam(s)
		if err != nil || word == "" {
			return p, err
		}
		s = rest
		name, value, hasValue := strings.Cut(word, "=")
		name = strings.ToUpper(name)
		before := p
		if err := p.set(name, value, hasValue, allowed); err != nil {
			return p, err
		}
		again := false
		for _, n := range seen[:count] {
			again = again || n == name
		}
		if again && p != before {
			return p, badValue(name)
		}
		if !again && count < len(seen) {
			seen[count] = name
			count++
		}
	}
}

// cutParam takes the next word; "" at the end. What follows a path must be set
// off by a space.
func cutParam(s string) (word, rest string, err error) {
	trimmed := strings.TrimLeft(s, " \t")
	if trimmed == "" {
		return "", "", nil
	}
	if len(trimmed) == len(s) {
		return "", "", BadArg
	}
	end := strings.IndexAny(trimmed, " \t")
	if end < 0 {
		end = len(trimmed)
	}
	return trimmed[:end], trimmed[end:], nil
}

func (p *MailParams) set(name, value string, hasValue bool, allowed ParamSet) error {
	needs, flag, known := mailParam(name)
	if !known || allowed&needs == 0 {
		return noParam(name)
	}
	if hasValue == flag || !p.setValue(name, value) {
		return badValue(name)
	}
	if p.Body == "BINARYMIME" && allowed&ParamBinary == 0 {
		return noParam("BODY=BINARYMIME")
	}
	return nil
}

// mailParam is the table of the parameters of MAIL: the extension each needs,
// and whether it is a flag, which takes no value.
func mailParam(name string) (needs ParamSet, flag, known bool) {
	switch name {
	case "SIZE":
		return ParamSize, false, true
	case "BODY":
		return ParamBody, false, true
	case "SMTPUTF8":
		return ParamUTF8, true, true
	case "RET", "ENVID":
		return ParamDSN, false, true
	case "AUTH":
		return ParamAuth, false, true
	case "BY":
		return ParamBy, false, true
	case "HOLDFOR", "HOLDUNTIL":
		return ParamHold, false, true
	case "MT-PRIORITY":
		return ParamPriority, false, true
	case "REQUIRETLS":
		return ParamRequireTLS, true, true
	}
	return 0, false, false
}

// setValue reports whether the value is one.
func (p *MailParams) setValue(name, value string) bool {
	switch name {
	case "SIZE":
		return p.setSize(value)
	case "BODY":
		return p.setBody(value)
	case "SMTPUTF8":
		p.UTF8 = true
	case "RET":
		return p.setReturn(value)
	case "ENVID":
		return p.setEnvelopeID(value)
	case "AUTH":
		return p.setAuth(value)
	case "BY":
		return p.setBy(value)
	case "HOLDFOR":
		return p.setHoldFor(value)
	case "HOLDUNTIL":
		return p.setHoldUntil(value)
	case "MT-PRIORITY":
		return p.setPriority(value)
	case "REQUIRETLS":
		p.RequireTLS = true
	}
	return true
}

func (p *MailParams) setSize(v string) bool {
	if len(v) > 20 || !isDigits(v) {
		return false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		n = 1<<63 - 1 // 20 digits are allowed: larger than anything
	}
	p.Size = n
	return true
}

func (p *MailParams) setBody(v string) bool {
	for _, known := range [...]string{"7BIT", "8BITMIME", "BINARYMIME"} {
		if strings.EqualFold(v, known) {
			p.Body = known
			return true
		}
	}
	return false
}

func (p *MailParams) setReturn(v string) bool {
	for _, known := range [...]string{"FULL", "HDRS"} {
		if strings.EqualFold(v, known) {
			p.Return = known
			return true
		}
	}
	return false
}

func (p *MailParams) setEnvelopeID(v string) bool {
	id, ok := DecodeXtext(v)
	if !ok || id == "" || len(id) > EnvelopeIDMax || !isPrintableASCII(id) {
		return false
	}
	p.EnvelopeID = id
	return true
}

func (p *MailParams) setAuth(v string) bool {
	if len(v) > AuthParamMax || v == "" {
		return false
	}
	if v == "<>" {
		p.Auth = v
		return true
	}
	who, ok := DecodeXtext(v)
	if !ok || who == "" || strings.ContainsAny(who, "\r\n\x00") {
		return false
	}
	p.Auth = who
	return true
}

// setBy reads ["-" / "+"] 1*9DIGIT ";" ("N" / "R") ["T"].
func (p *MailParams) setBy(v string) bool {
	seconds, mode, ok := strings.Cut(v, ";")
	sign := int64(1)
	if seconds != "" && (seconds[0] == '+' || seconds[0] == '-') {
		if seconds[0] == '-' {
			sign = -1
		}
		seconds = seconds[1:]
	}
	if !ok || len(seconds) > 9 || !isDigits(seconds) || mode == "" || len(mode) > 2 {
		return false
	}
	n, _ := strconv.ParseInt(seconds, 10, 64)
	by := By{Seconds: sign * n, Mode: mode[0] &^ 0x20}
	if len(mode) == 2 {
		if by.Trace = mode[1]&^0x20 == 'T'; !by.Trace {
			return false
		}
	}
	if by.Mode != 'N' && (by.Mode != 'R' || by.Seconds <= 0) { // "return" in the past makes no sense (RFC 2852 §4)
		return false
	}
	p.By = by
	return true
}

// setHoldFor reads up to nine digits of seconds (RFC 4865 §4). Not together
// with HOLDUNTIL.
func (p *MailParams) setHoldFor(v string) bool {
	if len(v) > 9 || !isDigits(v) || !p.HoldUntil.IsZero() {
		return false
	}
	n, _ := strconv.ParseInt(v, 10, 64)
	p.HoldFor = time.Duration(n) * time.Second
	return n > 0
}

func (p *MailParams) setHoldUntil(v string) bool {
	t, err := time.Parse(time.RFC3339, v)
	if err != nil || p.HoldFor != 0 || t.IsZero() {
		return false
	}
	p.HoldUntil = t.UTC()
	return true
}

// setPriority reads "0" or ["-"] digit (RFC 6710 §11).
func (p *MailParams) setPriority(v string) bool {
	n, negative := strings.CutPrefix(v, "-")
	if len(n) != 1 || !isDigits(n) || (negative && n == "0") {
		return false
	}
	p.Priority = Priority{Given: true, Value: int(n[0] - '0')}
	if negative {
		p.Priority.Value = -p.Priority.Value
	}
	return true
}

// Append writes the parameters as a client sends them, each after a space.
func (p MailParams) Append(b []byte) []byte {
	if p.Size > 0 {
		b = strconv.AppendInt(append(b, " SIZE="...), p.Size, 10)
	}
	b = appendParam(b, "BODY", p.Body)
	if p.UTF8 {
		b = append(b, " SMTPUTF8"...)
	}
	b = appendParam(b, "RET", p.Return)
	if p.EnvelopeID != "" {
		b = AppendXtext(append(b, " ENVID="...), p.EnvelopeID)
	}
	switch p.Auth {
	case "":
	case "<>":
		b = append(b, " AUTH=<>"...)
	default:
		b = AppendXtext(append(b, " AUTH="...), p.Auth)
	}
	if p.By.Mode != 0 {
		b = strconv.AppendInt(append(b, " BY="...), p.By.Seconds, 10)
		b = append(b, ';', p.By.Mode)
		if p.By.Trace {
			b = append(b, 'T')
		}
	}
	if p.HoldFor > 0 {
		b = strconv.AppendInt(append(b, " HOLDFOR="...), int64(p.HoldFor/time.Second), 10)
	}
	if !p.HoldUntil.IsZero() {
		b = p.HoldUntil.UTC().AppendFormat(append(b, " HOLDUNTIL="...), time.RFC3339)
	}
	if p.Priority.Given {
		b = strconv.AppendInt(append(b, " MT-PRIORITY="...), int64(p.Priority.Value), 10)
	}
	if p.RequireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	return b
}

func appendParam(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(b, ' '), name...)
	return append(append(b, '='), value...)
}

// ParseRcptParams reads what follows the path of RCPT. utf8 tells that the
// transaction has SMTPUTF8, so that ORCPT may hold UTF-8 as it is (RFC 6533
// §3). The error is a Reply.
func ParseRcptParams(s string, allowed ParamSet, utf8 bool) (RcptParams, error) {
	var p RcptParams
	for {
		word, rest, err := cutParam(s)
		if err != nil || word == "" {
			return p, err
		}
		s = rest
		name, value, _ := strings.Cut(word, "=")
		name = strings.ToUpper(name)
		before := p
		switch {
		case allowed&ParamDSN == 0 || (name != "NOTIFY" && name != "ORCPT"):
			return p, noParam(name)
		case name == "NOTIFY" && !p.setNotify(value), name == "ORCPT" && !p.setOriginal(value, utf8):
			return p, badValue(name)
		case name == "NOTIFY" && before.Notify != 0 && before != p,
			name == "ORCPT" && before.Original != "" && before != p:
			return p, badValue(name)
		}
	}
}

// setNotify reads "NEVER" alone or a list of the others (EXT-7).
func (p *RcptParams) setNotify(v string) bool {
	var n NotifySet
	for word := range strings.SplitSeq(strings.ToUpper(v), ",") {
		bit := notifyBit(word)
		if bit == 0 {
			return false
		}
		n |= bit
	}
	if n&NotifyNever != 0 && n != NotifyNever {
		return false
	}
	p.Notify = n
	return true
}

func notifyBit(word string) NotifySet {
	switch word {
	case "NEVER":
		return NotifyNever
	case "SUCCESS":
		return NotifySuccess
	case "FAILURE":
		return NotifyFailure
	case "DELAY":
		return NotifyDelay
	}
	return 0
}

func (p *RcptParams) setOriginal(v string, utf8 bool) bool {
	kind, addr, ok := strings.Cut(v, ";")
	kind = strings.ToLower(kind)
	if !ok || !isKeyword(kind) || addr == "" || len(v) > OriginalRecipientMax {
		return false
	}
	if kind == "utf-8" {
		addr, ok = DecodeUTF8Xtext(addr, utf8)
	} else {
		addr, ok = DecodeXtext(addr)
	}
	if !ok || addr == "" || strings.ContainsAny(addr, "\r\n\x00") {
		return false
	}
	p.Original, p.OriginalType = kind+";"+addr, kind
	return true
}

// Append writes the parameters as a client sends them, each after a space.
// utf8 tells that the transaction has SMTPUTF8; without it an address of type
// utf-8 is written with \x{...} (RFC 6533 §3).
func (p RcptParams) Append(b []byte, utf8 bool) []byte {
	if p.Notify != 0 {
		b = append(b, " NOTIFY="...)
		comma := false
		for _, w := range [...]string{"NEVER", "SUCCESS", "FAILURE", "DELAY"} {
			if p.Notify&notifyBit(w) == 0 {
				continue
			}
			if comma {
				b = append(b, ',')
			}
			b, comma = append(b, w...), true
		}
	}
	kind, addr, ok := strings.Cut(p.Original, ";")
	if !ok {
		return b
	}
	b = append(append(append(b, " ORCPT="...), kind...), ';')
	if strings.EqualFold(kind, "utf-8") {
		return AppendUTF8Xtext(b, addr, utf8)
	}
	return AppendXtext(b, addr)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
