package node

import (
	"paquebot/internal/api"
	"paquebot/internal/mail"
	"paquebot/internal/spool"
)

// stored is the spool as operators see it (api.Spool).
type stored struct{ spool.Spool }

// Stat implements api.Spool.
func (s stored) Stat() api.SpoolStat {
	st := s.Spool.Stat()
	v := api.SpoolStat{Messages: st.Messages, Recipients: st.Recipients, Bytes: st.Bytes, Segments: int64(st.Segments), States: map[string]int64{}}
	for state, n := range st.States {
		if n > 0 {
			v.States[mail.State(state).String()] = n
		}
	}
	switch {
	case st.Stopped != nil:
		v.Stopped = st.Stopped.Error()
	case st.Troubled != nil:
		v.Stopped = st.Troubled.Error()
	}
	return v
}
