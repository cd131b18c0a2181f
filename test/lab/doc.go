// Package lab is a laboratory of broken networks: it makes every observation
// and every verdict of the doctor's table (standards §24) happen for real, and
// asks the real binary what it makes of it.
//
// Read main_test.go, then site_test.go: each experiment has a site of its own,
// a client's network behind a router that nftables and proxies of ours disturb,
// at the end of a slow line to an "internet" all sites share:
//
//	client ── veth ── router ── line (two TUN devices, 10 ms each way) ── internet
//	45.80.N.2         45.80.N.1                                    45.77.0.0/16
//	2a0c:80:N::2      2a0c:80:N::1                                 2a0c:77::/32
//
// The internet holds hosts with the names of the provider catalogue, answering
// on the ports the catalogue names, with certificates of an authority the
// client trusts; Postfix, chasquid and Paquebot itself; name servers, two of
// them at the well-known public addresses; and hosts that are wrong in one way
// each. All else is a black hole, as 192.0.2.1 is in the world outside.
// rows_test.go is the table of experiments, boxes_test.go the proxies.
//
// The laboratory takes root, nftables and the packages that test/setup.sh
// installs. Without them the tests are skipped and say so; with CI=true they
// fail. No packet can leave: the network is made of namespaces.
//
// Environment: PAQUEBOT_BIN (a binary built already), LAB_KEEP (keep the folder
// with all logs), LAB_SHOW (a folder to write into what a person would see, by
// experiment).
package lab
