# The dozen commands. Each is one line; `make` alone lists them.

GO ?= go
FUZZTIME ?= 60s

help:            ## this list
	@sed -n 's/^\([a-z]*\): *## \(.*\)/  make \1	\2/p; s/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile | sort -u

test:            ## everything CI runs; installs what the tests need, or says what is missing
	@./test/setup.sh
	@./test/all.sh

check:           ## the fast part: format, vet, staticcheck, unit tests with the race detector
	@./test/all.sh --fast

build:           ## the binary, in bin/paquebot
	$(GO) build -trimpath -ldflags '-s -w' -o bin/paquebot ./cmd/paquebot

fuzz:            ## every fuzz target for FUZZTIME (60s)
	@./test/fuzz.sh $(FUZZTIME)

sim:             ## the seeded world; SEED= and DAYS= choose one
	SIM_SEED=$(SEED) SIM_DAYS=$(DAYS) $(GO) test -race -count=1 -v -run TestWorld ./internal/sim/

e2e:             ## end to end with real clients and servers
	$(GO) test -count=1 ./test/e2e/

lab:             ## the doctor in a laboratory of broken networks
	$(GO) test -count=1 -v ./test/lab/

crash:           ## stop after every write; kill -9 of the real binary under load
	$(GO) test -race -count=1 -run Crash ./internal/spool/
	$(GO) test -count=1 -v -run Kill ./test/e2e/

bench:           ## microbenchmarks of the hot paths, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./internal/spool/ ./internal/smtpserver/ ./internal/deliver/

docs:            ## the generated reference pages
	$(GO) generate ./...

update:          ## rewrite the goldens; review the diff
	$(GO) test $$(git grep -lF 'flag.Bool("update"' -- '*_test.go' | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

clean:           ## what was built
	rm -rf bin

.PHONY: help test check build fuzz sim e2e lab crash bench docs update clean
