package observe

import (
	"fmt"
	"slices"
	"strings"
)

// MetricsReference writes docs/reference/metrics.md: what events are counted as.
func MetricsReference() string {
	rows := append(NewMetrics("").rows, pulled...)
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

After this page you know what each series of ` + "`/metrics`" + ` counts. They answer on the address of ` + "`[metrics]`" + `, beside ` + "`/livez`" + ` and ` + "`/readyz`" + `. Every count is made from the same events as the log and ` + "`paquebot trace`" + `, so they agree. No label holds an address, an ID or free text; a label takes at most 100 values, later ones are ` + "`other`" + `. Those of the Go runtime and the process come on top.

| metric | type | labels | what |
|---|---|---|---|
`

// pulled are the series that node asks the rooms for at each scrape; a test
// there holds them against what is served.
var pulled = []metricRow{
	{"paquebot_spool_messages", "gauge", "Unfinished messages.", nil},
	{"paquebot_spool_recipients", "gauge", "Recipients of unfinished messages.", nil},
	{"paquebot_spool_journal_bytes", "gauge", "Size of the journal.", nil},
	{"paquebot_spool_free_bytes", "gauge", "Free space on the spool's disk.", nil},
	{"paquebot_queue_recipients", "gauge", "Recipients of unfinished messages by state.", []string{"state"}},
	{"paquebot_connections", "gauge", "Open connections by role of the port.", []string{"role"}},
	{"paquebot_events_dropped_total", "counter", "Events that the history could not take in time.", nil},
}
