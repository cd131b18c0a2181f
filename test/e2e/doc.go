// Package e2e tries the real binary against software we did not write: the
// clients people submit with (curl, swaks, msmtp, Python, nodemailer), the
// servers they run (Postfix, chasquid, Dovecot's LMTP, smtp-sink with its bad
// manners) and a real DNS server (Knot), all as Debian packages them; and
// against imitations of large providers (test/imitate).
//
// It knows the binary only from outside: its command line, its configuration
// file and what it says on the wire. It imports nothing of the house.
//
// Read main_test.go first, then world_test.go: the tests run in namespaces of
// their own (network, processes, mounts), in which a second network stands for
// everybody else. So the real ports 25, 587, 465 and 2525 are used, nothing
// outside is touched, and every process ends with the namespace:
//
//	45.77.0.0/24  the wire between us (.1) and the peers (.2)
//	45.77.1.0/24  us: each server under test has one address, s07.paquebot.test is 45.77.1.7
//	45.77.2.0/24  the peers: .2 Postfix, .3 chasquid, .4 Dovecot, .53 Knot,
//	              .21 to .27 imitated providers under their own names,
//	              .101 onwards whatever a test puts there (zone_test.go)
//
// They look like public addresses because mail is not sent to private ones
// that strangers put into the DNS (MX-10); no packet can leave.
//
// That takes root and the packages that test/setup.sh installs. Without them
// the tests are skipped and say so; with CI=true they fail.
//
// Environment: KILLS (of TestKill, default 200), SEED, PAQUEBOT_BIN (a binary
// built already), E2E_KEEP (keep the folder with all logs).
//
// Invariant: no test sleeps; each waits, with a deadline, for something that
// can be seen from outside.
package e2e
