package smtpserver

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"paquebot/internal/smtp"
)

// columns of standards §3.2.
var ehColumns = []string{"25-clear", "25-tls", "465-preauth", "465-auth", "587-clear", "587-tls", "587-auth"}

// ehTable is standards §3.2: y offered, - not, o only when the configuration
// asks for it.
var ehTable = map[string]string{
	"PIPELINING": "yyyyyyy", "ENHANCEDSTATUSCODES": "yyyyyyy", "8BITMIME": "yyyyyyy", "SMTPUTF8": "yyyyyyy",
	"CHUNKING": "yyyyyyy", "SIZE": "yyyyyyy",
	"STARTTLS": "y---y--", "AUTH": "--y--y-", "DSN": "yyyy-yy", "REQUIRETLS": "-yyy-yy", "LIMITS": "yyyyyyy",
	"BINARYMIME": "oooo-oo", "FUTURERELEASE": "--oo-oo", "DELIVERBY": "oooo-oo", "MT-PRIORITY": "oooo-oo",
	"XCLIENT": "oo-----", "XFORWARD": "oo-----",
}

// cmTable is standards §3.3 as codes, for the columns of cmColumns.
var cmColumns = []string{"587-clear", "587-unauth", "587-auth", "465-unauth", "465-auth"}
var cmTable = map[string][5]string{
	"EHLO":     {"250", "250", "250", "250", "250"},
	"HELO":     {"530 5.7.0", "250", "250", "250", "250"},
	"STARTTLS": {"501 5.5.4", "503 5.5.1", "503 5.5.1", "503 5.5.1", "503 5.5.1"}, // with an argument in clear; without: cm-587-starttls
	"AUTH":     {"530 5.7.0", "535 5.7.8", "503 5.5.1", "535 5.7.8", "503 5.5.1"},
	"MAIL":     {"530 5.7.0", "530 5.7.0", "250 2.1.0", "530 5.7.0", "250 2.1.0"},
	"RCPT":     {"530 5.7.0", "530 5.7.0", "250 2.1.5", "530 5.7.0", "250 2.1.5"},
	"DATA":     {"530 5.7.0", "530 5.7.0", "354", "530 5.7.0", "354"},
	"BDAT":     {"530 5.7.0", "530 5.7.0", "250 2.0.0", "530 5.7.0", "250 2.0.0"},
	"RSET":     {"530 5.7.0", "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0"},
	"NOOP":     {"250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0", "250 2.0.0"},
	"VRFY":     {"530 5.7.0", "530 5.7.0", "252 2.0.0", "530 5.7.0", "252 2.0.0"},
	"EXPN":     {"530 5.7.0", "502 5.5.1", "502 5.5.1", "502 5.5.1", "502 5.5.1"},
	"HELP":     {"530 5.7.0", "214 2.0.0", "214 2.0.0", "214 2.0.0", "214 2.0.0"},
	"QUIT":     {"221 2.0.0", "221 2.0.0", "221 2.0.0", "221 2.0.0", "221 2.0.0"},
	"unknown":  {"530 5.7.0", "500 5.5.1", "500 5.5.1", "500 5.5.1", "500 5.5.1"},
}

// elsewhere are rows that no dialogue can show, and the test that does.
var elsewhere = map[string]string{
	"SRV-4":  "smtp.FuzzDotEncoder",
	"SRV-7":  "TestSegments",
	"SRV-9":  "TestLeastSizes",
	"SRV-21": "TestRepliesAreWellFormed",
	"SRV-30": "cm-25",
	"SRV-31": "TestDurableBeforeReply",
	"SRV-37": "TestRepliesAreWellFormed",
	"SRV-38": "TestRepliesAreWellFormed",
	"TE-4":   "listen.TestCleartextOnTLSPort",
	"TE-15":  "TestOldTLS",
	"TE-16":  "listen.TestTooMany",
	"RC-21":  "the house says 250",
	"RC-59":  "every transcript that ends with QUIT",
	"RC-61":  "",
}

// notOurs are the traps of §27 that concern other packages.
var notOurs = []int{3, 5, 6, 7, 8, 9, 10, 15, 19, 20, 21, 22, 25, 26, 27, 28, 30, 31}

// rowsWanted lists the ids of standards §3.2, §3.3, §3.8, §4, §16.1 and §27.
func rowsWanted() []string {
	var out []string
	for k := range ehTable {
		for _, c := range ehColumns {
			out = append(out, "EH:"+k+"/"+c)
		}
	}
	for v := range cmTable {
		for _, c := range cmColumns {
			out = append(out, "CM:"+v+"/"+c)
		}
	}
	series := func(prefix string, from, to int, but ...int) {
		for i := from; i <= to; i++ {
			if !slices.Contains(but, i) {
				out = append(out, fmt.Sprintf("%s-%d", prefix, i))
			}
		}
	}
	series("CM", 1, 2)
	series("TE", 1, 16)
	series("SRV", 1, 14)
	series("SRV", 20, 41)
	series("RC", 1, 60)
	series("TRAP", 1, 32, notOurs...)
	series("P587", 3, 5)
	return out
}

type transcript struct {
	name  string
	lines []string
}

func transcripts(t *testing.T) []transcript {
	files, err := filepath.Glob("testdata/*.smtp")
	if err != nil {
		t.Fatal(err)
	}
	var out []transcript
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, transcript{strings.TrimSuffix(filepath.Base(f), ".smtp"), strings.Split(string(raw), "\n")})
	}
	return out
}

// Every row has a transcript that names it, and every transcript names rows
// that exist or other paragraphs of the standards.
func TestEveryRowHasATranscript(t *testing.T) {
	named := map[string]bool{}
	for id, where := range elsewhere {
		named[id] = where != ""
	}
	for _, tr := range transcripts(t) {
		for _, l := range tr.lines {
			ids, ok := strings.CutPrefix(l, "# rows: ")
			if !ok {
				continue
			}
			for _, id := range strings.Fields(ids) {
				if rest, all := strings.CutPrefix(id, "EH:*/"); all {
					for k := range ehTable {
						named["EH:"+k+"/"+rest] = true
					}
				}
				named[id] = true
			}
		}
	}
	for _, id := range rowsWanted() {
		if !named[id] {
			t.Errorf("no transcript names %s", id)
		}
	}
}

// Standards §3.2: each cell, as it comes and with everything that is opt-in.
func TestKeywordTable(t *testing.T) {
	for i, col := range ehColumns {
		plain, all := lastEHLO(t, "eh-"+col), lastEHLO(t, "eh-"+col+"-all")
		for k, cells := range ehTable {
			want := map[byte][2]bool{'y': {true, true}, '-': {false, false}, 'o': {false, true}}[cells[i]]
			if plain.Has(k) != want[0] || all.Has(k) != want[1] {
				t.Errorf("%s on %s: offered %v, with all on %v; want %v", k, col, plain.Has(k), all.Has(k), want)
			}
		}
		if n := all.Keywords(); n > len(ehTable) {
			t.Errorf("%s offers %d keywords, more than the table has", col, n)
		}
	}
}

func lastEHLO(t *testing.T, name string) smtp.Extensions {
	raw, err := os.ReadFile("testdata/" + name + ".smtp")
	if err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndex(string(raw), "C: EHLO")
	var text []string
	for l := range strings.SplitSeq(string(raw)[at:], "\n") {
		if rest, ok := strings.CutPrefix(l, "S: 250"); ok {
			text = append(text, rest[1:])
		}
	}
	return smtp.ParseExtensions(smtp.Reply{Code: 250, Text: strings.Join(text, "\n")})
}

// Standards §3.3: each cell.
func TestCommandTable(t *testing.T) {
	for i, col := range cmColumns {
		said := answers(t, "cm-"+col)
		for verb, cells := range cmTable {
			if !slices.ContainsFunc(said[verb], func(r string) bool { return strings.HasPrefix(r, cells[i]) }) {
				t.Errorf("%s on %s: %q, want %s", verb, col, said[verb], cells[i])
			}
		}
	}
}

// answers maps verbs to the replies they got: lines that begin with other words
// count as "unknown".
func answers(t *testing.T, name string) map[string][]string {
	raw, err := os.ReadFile("testdata/" + name + ".smtp")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	verb := ""
	for l := range strings.SplitSeq(string(raw), "\n") {
		kind, text, _ := strings.Cut(l, ": ")
		switch {
		case kind == "C":
			word, _, _ := strings.Cut(text, " ")
			if _, known := cmTable[word]; !known {
				word = "unknown"
			}
			verb = word
		case kind == "C-" && strings.Contains(text, "BDAT"):
			verb = "BDAT"
		case kind == "C-":
			verb = ""
		case kind == "S" && !strings.HasPrefix(text, "250-") && verb != "":
			out[verb] = append(out[verb], strings.Replace(text, "250-", "250 ", 1))
		}
	}
	return out
}

// SRV-21, SRV-37, SRV-38, TRAP-15: every line the server says in any transcript
// has the form it must have.
func TestRepliesAreWellFormed(t *testing.T) {
	shape := regexp.MustCompile(`^([2-5])\d\d([ -])(?:(\d)\.(\d{1,3})\.(\d{1,3}) )?`)
	for _, tr := range transcripts(t) {
		verb, previous := "connect", ""
		for i, l := range tr.lines {
			kind, text, _ := strings.Cut(l, ": ")
			if kind == "C" || kind == "C+" {
				verb, _, _ = strings.Cut(strings.ToUpper(text), " ")
			}
			if kind == "C-" {
				verb, _, _ = strings.Cut(strings.ToUpper(strings.Trim(text, `"`)), " ")
			}
			if kind != "S" {
				continue
			}
			m := shape.FindStringSubmatch(text)
			if m == nil || len(text) > 510 {
				t.Errorf("%s:%d: %q", tr.name, i+1, text)
				continue
			}
			if previous != "" && previous != text[:3] {
				t.Errorf("%s:%d: a reply with two codes: %q", tr.name, i+1, text)
			}
			if previous = ""; m[2] == "-" {
				previous = text[:3]
			}
			plain := m[1] == "3" || strings.HasPrefix(text, "220 mx.example") || verb == "EHLO" || verb == "HELO" || verb == "connect"
			if !plain && m[3] != m[1] {
				t.Errorf("%s:%d: no enhanced code of class %s: %q", tr.name, i+1, m[1], text)
			}
			if m[3] != "" && m[3] != m[1] {
				t.Errorf("%s:%d: classes differ: %q", tr.name, i+1, text)
			}
			if rest := text[len(m[0]):]; len(rest) > 3 && rest[:3] == text[:3] {
				t.Errorf("%s:%d: code twice: %q", tr.name, i+1, text)
			}
			if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%s:%d: control character: %q", tr.name, i+1, text)
			}
		}
	}
}
