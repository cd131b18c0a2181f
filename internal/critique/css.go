package critique

import (
	"strings"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
)

// cssMax is how much of a style sheet is looked at, in octets.
const cssMax = 512 << 10

// sheet finds the features of a style element, inline those of a style
// attribute.
func (u usage) sheet(text string)  { u.css(text, false) }
func (u usage) inline(text string) { u.css(text, true) }

func (u usage) css(text string, inline bool) {
	if len(text) > cssMax {
		text = text[:cssMax]
	}
	p := css.NewParser(parse.NewInputString(text), inline)
	depth := 0 // of rules in rules
	for {
		kind, _, data := p.Next()
		switch kind {
		case css.ErrorGrammar:
			if !p.HasParseError() {
				return
			}
		case css.CommentGrammar:
			u.add("css-comments")
		case css.AtRuleGrammar, css.BeginAtRuleGrammar:
			u.atRule(string(data), values(p))
		case css.QualifiedRuleGrammar:
			u.selector(string(data), p.Values())
		case css.BeginRulesetGrammar:
			if depth++; depth > 1 {
				u.add("css-nesting")
			}
			u.selector(string(data), p.Values())
		case css.EndRulesetGrammar:
			depth--
		case css.CustomPropertyGrammar:
			u.add("css-variables")
		case css.DeclarationGrammar:
			u.declaration(strings.ToLower(string(data)), p.Values())
		}
	}
}

func values(p *css.Parser) string {
	var b strings.Builder
	for _, v := range p.Values() {
		b.Write(v.Data)
	}
	return strings.ToLower(b.String())
}

func (u usage) atRule(name, condition string) {
	name = strings.ToLower(strings.TrimPrefix(name, "@"))
	switch strings.TrimPrefix(name, "-webkit-") {
	case "font-face", "import", "keyframes", "supports":
		u.add("css-at-" + strings.TrimPrefix(name, "-webkit-"))
	case "media":
		u.add("css-at-media")
		for _, f := range []string{"device-pixel-ratio", "hover", "orientation", "prefers-color-scheme", "prefers-reduced-motion"} {
			if strings.Contains(condition, f) {
				u.add("css-at-media-" + f)
			}
		}
	}
}

// selector tells the parts of a rule's head.
func (u usage) selector(first string, tokens []css.Token) {
	var before css.TokenType = css.WhitespaceToken
	text := first
	for i, t := range tokens {
		word := strings.ToLower(string(t.Data))
		text += word
		switch {
		case t.TokenType == css.HashToken:
			u.add("css-selector-id")
		case t.TokenType == css.LeftBracketToken:
			u.add("css-selector-attribute")
		case t.TokenType == css.CommaToken:
			u.add("css-selector-grouping")
		case t.TokenType == css.WhitespaceToken && i+1 < len(tokens) && plainToken(before) && plainToken(tokens[i+1].TokenType):
			u.add("css-selector-descendant")
		case t.TokenType == css.DelimToken:
			u.combinator(word)
		case t.TokenType == css.IdentToken && before == css.ColonToken, t.TokenType == css.FunctionToken && before == css.ColonToken:
			u.pseudo(strings.TrimSuffix(word, "("))
		case t.TokenType == css.IdentToken && before != css.DelimToken && before != css.LeftBracketToken:
			u.add("css-selector-type")
		}
		before = t.TokenType
	}
	if strings.Count(text, ".") > 1 && !strings.Contains(text, " ") {
		u.add("css-selector-chaining")
	}
}

func plainToken(t css.TokenType) bool {
	return t == css.IdentToken || t == css.HashToken || t == css.DelimToken || t == css.RightBracketToken
}

func (u usage) combinator(word string) {
	switch word {
	case ".":
		u.add("css-selector-class")
	case "*":
		u.add("css-selector-universal")
	case ">":
		u.add("css-selector-child")
	case "+":
		u.add("css-selector-adjacent-sibling")
	case "~":
		u.add("css-selector-general-sibling")
	}
}

// pseudo is a class or an element; caniemail.com has each name once.
func (u usage) pseudo(name string) {
	u.add("css-pseudo-class-" + name)
	u.add("css-pseudo-element-" + name)
}

// propertySlugs are properties that caniemail.com names otherwise than
// css-PROPERTY, or together with others.
var propertySlugs = func() map[string]string {
	all := map[string]string{}
	for slug, properties := range map[string]string{
		"css-block-inline-size":              "block-size",
		"css-border-inline-block":            "border-inline border-block",
		"css-border-inline-block-individual": "border-inline-start border-inline-end border-block-start border-block-end",
		"css-border-inline-block-longhand":   "border-inline-color border-inline-style border-inline-width border-block-color border-block-style border-block-width border-inline-start-color border-inline-start-style border-inline-start-width border-inline-end-color border-inline-end-style border-inline-end-width border-block-start-color border-block-start-style border-block-start-width border-block-end-color border-block-end-style border-block-end-width",
		"css-border-radius-logical":          "border-start-start-radius border-start-end-radius border-end-start-radius border-end-end-radius",
		"css-border-radius":                  "border-top-left-radius border-top-right-radius border-bottom-left-radius border-bottom-right-radius",
		"css-border":                         "border-top border-right border-bottom border-left border-color border-style border-width border-top-color border-top-style border-top-width border-right-color border-right-style border-right-width border-bottom-color border-bottom-style border-bottom-width border-left-color border-left-style border-left-width",
		"css-column-layout-properties":       "columns column-fill column-gap column-rule column-rule-color column-rule-style column-rule-width column-span column-width",
		"css-gap":                            "row-gap",
		"css-grid-template":                  "grid-template-areas grid-template-columns grid-template-rows",
		"css-inset":                          "inset-block inset-inline inset-block-start inset-block-end inset-inline-start inset-inline-end",
		"css-left-right-top-bottom":          "left right top bottom",
		"css-margin":                         "margin-top margin-right margin-bottom margin-left",
		"css-margin-block-start-end":         "margin-block-start margin-block-end",
		"css-margin-inline-block":            "margin-inline margin-block",
		"css-margin-inline-start-end":        "margin-inline-start margin-inline-end",
		"css-padding":                        "padding-top padding-right padding-bottom padding-left",
		"css-padding-block-start-end":        "padding-block-start padding-block-end",
		"css-padding-inline-block":           "padding-inline padding-block",
		"css-padding-inline-start-end":       "padding-inline-start padding-inline-end",
		"css-overflow":                       "overflow-x overflow-y",
		"css-scroll-snap":                    "scroll-snap-type scroll-snap-align scroll-snap-stop",
		"css-text-emphasis":                  "text-emphasis-style text-emphasis-color",
		"css-animation":                      "animation-name animation-duration animation-delay animation-timing-function animation-iteration-count animation-direction animation-fill-mode",
		"css-transition":                     "transition-property transition-duration transition-delay transition-timing-function",
		"css-font":                           "font-family font-style font-variant",
		"css-border-image":                   "border-image-source border-image-slice border-image-width border-image-outset border-image-repeat",
	} {
		for p := range strings.FieldsSeq(properties) {
			all[p] = slug
		}
	}
	return all
}()

func (u usage) declaration(property string, tokens []css.Token) {
	bare := property
	for _, vendor := range []string{"-webkit-", "-moz-", "-ms-", "-o-"} {
		bare = strings.TrimPrefix(bare, vendor)
	}
	if slug := propertySlugs[bare]; slug != "" {
		u.add(slug)
	} else {
		u.add("css-" + bare)
	}
	for _, t := range tokens {
		u.value(bare, t, strings.ToLower(string(t.Data)))
	}
}

// value tells the units, functions and words of a declaration.
func (u usage) value(property string, t css.Token, word string) {
	switch t.TokenType {
	case css.DimensionToken:
		u.add("css-unit-" + strings.TrimLeft(word, "+-.0123456789"))
	case css.PercentageToken:
		u.add("css-unit-percent")
	case css.FunctionToken:
		u.function(strings.TrimSuffix(word, "("))
	case css.IdentToken:
		u.word(property, word)
	case css.DelimToken:
		if word == "!" {
			u.add("css-important")
		}
	}
}

func (u usage) function(name string) {
	switch name {
	case "rgb", "rgba":
		u.add("css-" + name)
	case "lch", "oklch", "lab", "oklab":
		u.add("css-modern-color")
	case "calc":
		u.add("css-unit-calc")
	case "var":
		u.add("css-variables")
	case "linear-gradient", "radial-gradient", "conic-gradient":
		u.add("css-" + name)
	case "clamp", "light-dark", "max", "min":
		u.add("css-function-" + name)
	}
}

func (u usage) word(property, word string) {
	switch {
	case word == "initial":
		u.add("css-unit-initial")
	case word == "fit-content" || word == "min-content" || word == "max-content":
		u.add("css-intrinsic-size")
	case property == "font-family" && (word == "system-ui" || strings.HasPrefix(word, "ui-")):
		u.add("css-sytem-ui")
	case property == "display":
		switch strings.TrimPrefix(word, "inline-") {
		case "flex", "grid":
			u.add("css-display-" + strings.TrimPrefix(word, "inline-"))
		case "none":
			u.add("css-display-none")
		}
	}
}
