package smtp

// Verb is a command's first word.
type Verb uint8

// The verbs known here. Those after VerbTurn are known and not implemented
// (SRV-30, EXT-14).
const (
	VerbUnknown Verb = iota
	VerbHelo
	VerbEhlo
	VerbMail
	VerbRcpt
	VerbData
	VerbBdat
	VerbRset
	VerbNoop
	VerbQuit
	VerbVrfy
	VerbExpn
	VerbHelp
	VerbStarttls
	VerbAuth
	VerbXclient
	VerbXforward
	VerbLhlo
	VerbTurn
	VerbAtrn
	VerbEtrn
	VerbSend
	VerbSoml
	VerbSaml
	VerbBurl
	VerbCount // how many there are, for tables
)

var verbNames = [VerbCount]string{"", "HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT",
	"VRFY", "EXPN", "HELP", "STARTTLS", "AUTH", "XCLIENT", "XFORWARD", "LHLO",
	"TURN", "ATRN", "ETRN", "SEND", "SOML", "SAML", "BURL"}

// String returns the verb in upper case, "" for VerbUnknown.
func (v Verb) String() string {
	if v < VerbCount {
		return verbNames[v]
	}
	return ""
}

// verbMax is the length of the longest verb.
const verbMax = len("STARTTLS")

// CutCommand splits a line without its CRLF into verb and argument. The word
// may be in any case; blanks after it and at the line's end do not count
// (RFC 5321 §4.1.1). It does not allocate: arg is a part of line.
func CutCommand(line []byte) (verb Verb, arg []byte) {
	n := 0
	for n < len(line) && line[n] != ' ' && line[n] != '\t' {
		n++
	}
	arg = trimBlanks(line[n:])
	if n > verbMax {
		return VerbUnknown, arg
	}
	var word [verbMax]byte
	for i, c := range line[:n] {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		word[i] = c
	}
	for v := VerbHelo; v < VerbCount; v++ {
		if verbNames[v] == string(word[:n]) {
			return v, arg
		}
	}
	return VerbUnknown, arg
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// CutKeyword takes "FROM:" or "TO:" in any case off the beginning of an
// argument.
func CutKeyword(arg, keyword string) (rest string, ok bool) {
	if len(arg) < len(keyword) {
		return arg, false
	}
	for i := range len(keyword) {
		c := arg[i]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != keyword[i] {
			return arg, false
		}
	}
	return arg[len(keyword):], true
}

// ParseBdat reads the argument of BDAT: a count of octets and perhaps LAST
// (RFC 3030 §2). The count may have up to 18 digits.
func ParseBdat(arg []byte) (size int64, last bool, ok bool) {
	n := 0
	for n < len(arg) && arg[n] >= '0' && arg[n] <= '9' {
		size = size*10 + int64(arg[n]-'0')
		n++
	}
	if n == 0 || n > 18 {
		return 0, false, false
	}
	rest := trimBlanks(arg[n:])
	if len(rest) == 0 {
		return size, false, n == len(arg)
	}
	if len(rest) != 4 || (arg[n] != ' ' && arg[n] != '\t') {
		return 0, false, false
	}
	_, last = CutKeyword(string(rest), "LAST")
	return size, last, last
}
