package spool

func (j *Journal) keep() { defer j.done.Done(); <-j.quit }
