package doctor

import (
	"time"

	"paquebot/internal/mail"
)

// Confidence says how sure a finding is (standards §24).
type Confidence string

const (
	Proven  Confidence = "proven"
	Likely  Confidence = "likely"
	Unknown Confidence = "unknown"
)

// Finding is one row of the standard that appeared (DIAG-10 to DIAG-49).
type Finding struct {
	ID         string     // "DIAG-34"
	Confidence Confidence //
	Word       Word       // how bad: ok, warn, FAIL
	Text       string     // one sentence
	Evidence   []Evidence // what it rests on, most telling first
	Advice     string     // what to do, one sentence; "" if nothing
	Where      []Endpoint // the endpoints it concerns; none: all
	Family     int        // 4 or 6 where it concerns one family; 0: both
}

// Evidence is one fact that a finding rests on.
type Evidence struct {
	Name string // two or three words: "same host, other ports"
	Text string // "465 and 2525 of smtp.sendgrid.net answer"
}

// Verdict is the pattern all findings make together (DIAG-60 to DIAG-72).
type Verdict struct {
	ID         string // "DIAG-61"
	Confidence Confidence
	Word       Word
	Text       string // the headline
}

// Recommendation is the one endpoint to use.
type Recommendation struct {
	Host   string
	Port   uint16
	Mode   mail.Security
	Reason string // one or two sentences (DIAG-81)
}

// Report is what a run found out about one target.
type Report struct {
	Target         Target
	Facts          *Facts
	Rows           []Row
	Findings       []Finding
	Verdict        Verdict
	Recommendation *Recommendation // nil: none is fit
	// InsecureOnly: something answers, but nothing that a credential may be
	// trusted to (DIAG-83).
	InsecureOnly bool
	Why          []string // sentences that explain the choice
	Advice       []string // what to do, and whom to ask (DIAG-82)
	Notes        []string // what else is worth knowing
	Took         time.Duration
	// Exit is DIAG-83's code: 0 a secure endpoint is usable, 1 none is, 2 could
	// not tell.
	Exit int
}

// Row is one line of the matrix: an endpoint, both families together.
type Row struct {
	Endpoint Endpoint
	Family   int // 0: both families agree, or there is but one; 4 or 6 where they differ
	Word     Word
	Cells    []Cell // as Columns
	Took     time.Duration
}

// Cell is what one stage came to.
type Cell struct {
	Word Word
	Text string // "open", "TIMEOUT", "verified": at most 12 letters
}
