# make run    build and serve with conf/srs.conf
# make demo   everything at once, no other program needed; ends by itself
# make test   install the test programs and run all tests
# make profile  where the CPU time, allocations, locks and system calls go under load
# make check  make test, and what a machine can check besides

VERSION   := 0.1.0
GOFLAGS   := -trimpath
LDFLAGS   := -s -w -X main.version=$(VERSION)
CHECKER   := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VULN      := golang.org/x/vuln/cmd/govulncheck@latest
FUZZTIME  ?= 60s
PACKAGES  := ffmpeg rtmpdump gcc libc6-dev git iproute2 util-linux flvmeta strace e2fsprogs \
	gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
PROGRAMS  := ffmpeg ffprobe rtmpdump gst-launch-1.0 gcc git ip unshare nsenter flvmeta strace mkfs.ext4
ELEMENTS  := rtmp2sink rtmp2src x264enc avdec_h264 flvmux flvdemux
SUDO      := $(if $(filter 0,$(shell id -u)),,sudo)

# What make profile measures: a command of bench with its flags.
PROFILE   ?= fanout -players 1000 -duration 31s

.PHONY: all build bench profile run demo test unit race e2e check vet lint conf stress audit tools clean

all: build bench

build:
	CGO_ENABLED=0 go build $(GOFLAGS) -ldflags '$(LDFLAGS)' -o srs .

bench:
	CGO_ENABLED=0 go build $(GOFLAGS) -o bench/bench ./bench

# Server on CPU 0, generator on CPU 1. Needs perf (linux-perf) and to be root.
profile: bench
	mkdir -p objs/profile
	CGO_ENABLED=0 go build -trimpath -tags profile -o objs/profile/srs .
	taskset -c 1 ./bench/bench $(PROFILE) -srs objs/profile/srs -cpu 0 -profile objs/profile -progress 0
	@for p in cpu allocs mutex; do echo; echo "== $$p"; \
		go tool pprof -top -nodecount 15 $$(test $$p = allocs && echo -sample_index=alloc_space -base objs/profile/allocs-base.pprof -ignore net/http/pprof) \
			objs/profile/srs objs/profile/$$p.pprof; done
	@echo; echo "== perf stat"; grep -v '^#' objs/profile/stat.txt | grep .
	@echo; echo "== perf, kernel included"; grep -v '^#' objs/profile/perf.txt | grep . | head -25
	@echo; echo "== system calls"; head -30 objs/profile/syscalls.txt

run: build
	./srs -c conf/srs.conf

demo: build bench
	mkdir -p objs && TMPDIR=$(CURDIR)/objs ./bench/bench demo -srs ./srs -keep

# The programs that tests drive, by package name; nothing is done where they are.
tools:
	@missing=; for p in $(PROGRAMS); do command -v $$p >/dev/null || missing="$$missing $$p"; done; \
	if [ -z "$$missing" ]; then for e in $(ELEMENTS); do gst-inspect-1.0 $$e >/dev/null 2>&1 || missing="$$missing $$e"; done; fi; \
	if [ -n "$$missing" ]; then echo "installing what is missing:$$missing"; \
		$(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -q --no-install-recommends $(PACKAGES); fi

test: tools unit race e2e

unit:
	go test -timeout 5m -shuffle=on $$(go list ./... | grep -v /bench/e2e)

race:
	SEND_ENGINE=epoll go test -race -timeout 5m -shuffle=on $$(go list ./... | grep -v /bench/e2e)

e2e:
	go test -count=1 -timeout 10m ./bench/e2e

check: vet lint conf test

vet:
	go vet ./...
	go vet -tags profile .

lint:
	go run $(CHECKER) ./...

conf: build
	./srs -t -c conf/srs.conf
	./srs -t -c conf/full.conf
	./srs -t

# Long forms: every fuzz target for FUZZTIME, the races over and over, players beside recordings that rotate together.
stress: tools build bench
	for d in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$d | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$d || exit 1; \
		done; \
	done
	go test -race -shuffle=on -count=10 ./rtmp/... ./hook/... ./dvr/...
	DVR_SEEDS=20000 DVR_SEED=1000 go test -count=1 -timeout 20m -run 'TestAnyPublish' ./dvr
	DVR_SWEEP=50 go test -count=1 -timeout 40m -run 'TestDV07' ./dvr
	DVR_KILLS=300 go test -count=1 -timeout 60m -run 'TestDV11$$' -v ./bench/e2e
	DVR_LEFTOVERS=10000 DVR_FREEZE=30 DVR_CUTS=100 go test -count=1 -timeout 40m -run 'TestDV(09|09Write|12|19)$$' -v ./bench/e2e
	SRS_KILLS=200 go test -count=1 -timeout 30m -v -run 'TestPR01|TestHK22' ./bench/e2e
	./bench/bench dvr -srs ./srs -apart -streams 500 -kbps 200 -duration 15s -dvr "dvr_plan segment; dvr_duration 5;"

# What needs the outside world.
audit:
	go run $(VULN) ./...

# What was built; not what was recorded, nor the callbacks that wait: those are in objs/, too.
clean:
	rm -rf srs bench/bench objs/profile objs/srs-demo-*
