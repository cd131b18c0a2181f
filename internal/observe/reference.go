package observe

import (
	"fmt"
	"slices"
	"strings"
)

// MetricsReference writes docs/reference/metrics.md: what events are counted as.
func MetricsReference() string {
	rows := NewMetrics("").rows
	slices.SortFunc(rows, func(a, b metricRow) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString(metricsHead)
	for _, r := range rows {
		labels := "–"
		if len(r.labels) > 0 {
			labels = "`" + strings.Join(r.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.name, r.kind, labels, r.help)
	}
	return b.String()
}

const metricsHead = `# Metrics

After this page you know what each series of ` + "`/metrics`" + ` counts. They answer on the address of ` + "`[metrics]`" + `, beside ` + "`/livez`" + ` and ` + "`/readyz`" + `. Every count is made from the same events as the log and ` + "`paquebot trace`" + `, so they agree. No label holds an address, an ID or free text; a label takes at most 100 values, later ones are ` + "`other`" + `. Gauges of the queue and the spool, and those of the Go runtime and the process, come on top.

| metric | type | labels | what |
|---|---|---|---|
`
