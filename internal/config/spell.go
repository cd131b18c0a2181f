package config

// Nearest returns the word of the list that somebody who wrote s probably
// meant, or "" if none is near.
func Nearest(s string, words []string) string {
	best, at := "", min(max(2, len(s)/3), 4)+1
	for _, w := range words {
		if d := distance(s, w); d < at && d < max(len(s), len(w)) {
			best, at = w, d
		}
	}
	return best
}

// spellMax bounds the work on a word nobody meant to be one.
const spellMax = 64

// distance counts the letters to insert, delete, change or swap.
func distance(a, b string) int {
	if len(a) > spellMax || len(b) > spellMax {
		return spellMax
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
