package critique

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed caniemail.json.gz
var caniemailData []byte

// canIEmail is the data of caniemail.com.
type canIEmail struct {
	Updated   string                       `json:"last_update_date"`
	Nicenames map[string]map[string]string `json:"nicenames"`
	Data      []feature                    `json:"data"`
}

type feature struct {
	Slug        string            `json:"slug"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	URL         string            `json:"url"`
	Category    string            `json:"category"`
	Tags        []string          `json:"tags"`
	Keywords    string            `json:"keywords"`
	Notes       map[string]string `json:"notes_by_num"`
	Stats       clients           `json:"stats"`
}

// client is the newest word about one mail program.
type client struct {
	family, platform, version string
	support                   string // yes, no, partial, unknown
	note                      string // number of a note, "" for none
}

type clients []client

// features reads the data once; it is part of the program.
var features = sync.OnceValues(func() (*canIEmail, error) {
	z, err := gzip.NewReader(bytes.NewReader(caniemailData))
	if err != nil {
		return nil, err
	}
	var c canIEmail
	if err := json.NewDecoder(z).Decode(&c); err != nil {
		return nil, fmt.Errorf("caniemail: %w", err)
	}
	return &c, nil
})

// UnmarshalJSON reads family → platform → version → word, and keeps the last
// version of each: they stand in order of time, which a map would lose.
func (c *clients) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	return members(d, func(family string) error {
		return members(d, func(platform string) error {
			last := client{family: family, platform: platform}
			err := members(d, func(version string) error {
				var word string
				if err := d.Decode(&word); err != nil {
					return err
				}
				last.version, last.support, last.note = version, supportOf(word), noteOf(word)
				return nil
			})
			if last.version != "" {
				*c = append(*c, last)
			}
			return err
		})
	})
}

// members reads an object; each is called with a name, when its value is next.
func members(d *json.Decoder, each func(name string) error) error {
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open != json.Delim('{') {
		return fmt.Errorf("%v stands where an object should", open)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		if err := each(fmt.Sprint(name)); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func supportOf(word string) string {
	switch {
	case strings.HasPrefix(word, "y"):
		return "yes"
	case strings.HasPrefix(word, "n"):
		return "no"
	case strings.HasPrefix(word, "a"):
		return "partial"
	}
	return "unknown"
}

func noteOf(word string) string {
	_, note, _ := strings.Cut(word, "#")
	note, _, _ = strings.Cut(note, " ")
	return note
}

func (c *canIEmail) title(k client) string {
	return strings.TrimSpace(c.nice("family", k.family) + " " + c.nice("platform", k.platform) + " (" + k.version + ")")
}

func (c *canIEmail) nice(kind, name string) string {
	if nice := c.Nicenames[kind][name]; nice != "" {
		return nice
	}
	return name
}

func (c *canIEmail) platforms() map[string][]string {
	all := map[string][]string{}
	for _, f := range c.Data {
		for _, k := range f.Stats {
			if name := c.nice("family", k.family); !slices.Contains(all[k.platform], name) {
				all[k.platform] = append(all[k.platform], name)
			}
		}
	}
	for _, names := range all {
		slices.Sort(names)
	}
	return all
}
