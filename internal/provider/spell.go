package provider

import "strings"

// nearMax bounds the work on a word nobody meant to be a name.
const nearMax = 48

// nearest returns the name somebody who wrote s probably meant, or "": one that
// begins with it, or the one with the fewest letters to change.
func nearest(s string, names []string) string {
	s = fold(s)
	if s == "" || len(s) > nearMax {
		return ""
	}
	best, at := "", max(1, len(s)/3)+1
	for _, n := range names {
		f := fold(n)
		if len(s) >= 3 && strings.HasPrefix(f, s) {
			return n
		}
		if d := distance(s, f); d < at && d < len(s) {
			best, at = n, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if a[i-1] == b[j-1] {
				differ = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+differ)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
