package critique

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

// Support is what mail programs show of an HTML document. Its JSON has the shape
// that Mailpit gave this answer, which clients know.
type Support struct {
	Warnings  []Unsupported
	Platforms map[string][]string // platform to the titles of programs: "ios": ["Apple Mail", …]
	Total     Total
}

// Total sums up all programs and all features that the document uses; the shares
// are percentages.
type Total struct {
	Tests       int
	Nodes       int
	Supported   float64
	Partial     float64
	Unsupported float64
}

// Unsupported is one feature that some programs do not show.
type Unsupported struct {
	Slug          string
	Title         string
	Description   string
	URL           string
	Category      string
	Tags          []string
	Keywords      string
	Results       []Result
	NotesByNumber map[string]string
	Score         Score
}

// Result is how one version of one program does.
type Result struct {
	Name       string // "Outlook Windows (2019)"
	Platform   string
	Family     string
	Version    string
	Support    string // yes, no, partial, unknown
	NoteNumber string
}

// Score sums up Results; the shares are percentages.
type Score struct {
	Found       int // places in the document
	Supported   float64
	Partial     float64
	Unsupported float64
}

// words tell what is not shown as meant.
func (s Score) words() string {
	if s.Unsupported >= 1 {
		return fmt.Sprintf("%.0f%% do not", s.Unsupported)
	}
	return fmt.Sprintf("%.0f%% in part", s.Partial+s.Unsupported)
}

// HTML holds a document against what mail programs are known to show.
func HTML(document string) (*Support, error) {
	known, err := features()
	if err != nil {
		return nil, err
	}
	used, nodes := scan(document)
	s := &Support{Warnings: []Unsupported{}, Platforms: known.platforms(), Total: Total{Nodes: nodes}}
	var yes, partly, all float64
	for _, f := range known.Data {
		found := used.count(f.Slug)
		if found == 0 {
			continue
		}
		u := f.judge(found, known)
		s.Total.Tests++
		n := float64(len(u.Results))
		yes, partly, all = yes+n*u.Score.Supported, partly+n*u.Score.Partial, all+n
		if u.Score.Supported < 100 {
			s.Warnings = append(s.Warnings, u)
		}
	}
	s.Total.Supported = 100
	if all > 0 {
		s.Total.Supported, s.Total.Partial = round(yes/all), round(partly/all)
		s.Total.Unsupported = round(100 - yes/all - partly/all)
	}
	sort.SliceStable(s.Warnings, func(i, j int) bool { return s.Warnings[i].Score.Unsupported > s.Warnings[j].Score.Unsupported })
	return s, nil
}

func round(x float64) float64 { return math.Abs(math.Round(x*100) / 100) }

// judge lists every program's newest word on a feature.
func (f feature) judge(found int, known *canIEmail) Unsupported {
	u := Unsupported{
		Slug: f.Slug, Title: f.Title, Description: f.Description, URL: f.URL, Category: f.Category,
		Tags: append([]string{}, f.Tags...), Keywords: f.Keywords, NotesByNumber: map[string]string{}, Results: []Result{}, Score: Score{Found: found},
	}
	var yes, partly, no float64
	for _, c := range f.Stats {
		r := Result{Name: known.title(c), Platform: c.platform, Family: c.family, Version: c.version, Support: c.support, NoteNumber: c.note}
		switch c.support {
		case "yes":
			yes++
		case "partial":
			partly++
		case "no":
			no++
		default:
			continue // nobody tried
		}
		u.Results = append(u.Results, r)
		if text := f.Notes[c.note]; c.note != "" && text != "" {
			u.NotesByNumber[c.note] = text
		}
	}
	if all := yes + partly + no; all > 0 {
		u.Score.Supported, u.Score.Partial, u.Score.Unsupported = round(100*yes/all), round(100*partly/all), round(100*no/all)
	}
	return u
}

// supportWanted is the share of programs, in percent, below which it is a
// warning.
const supportWanted = 80

// support tells the score in a sentence; the page has the table.
func (k *look) support() []Finding {
	if k.html == "" {
		return nil
	}
	s, err := HTML(k.html)
	if err != nil {
		return nil
	}
	level := Hint
	switch {
	case len(s.Warnings) == 0:
		return one("html-support", Good, "All mail programs show this HTML", "", "", "caniemail.com")
	case s.Total.Supported < supportWanted:
		level = Warning
	}
	var worst []string
	for _, w := range s.Warnings[:min(len(s.Warnings), 5)] {
		worst = append(worst, w.Title+" ("+w.Score.words()+")")
	}
	return one("html-support", level, fmt.Sprintf("Mail programs show %.0f%% of this HTML as meant", s.Total.Supported),
		"Least shown: "+strings.Join(worst, ", ")+".", "Have a look in those that your readers use.", "caniemail.com")
}
