# Each target is one line, the one CI runs. The linter, buf and benchstat come from
# the tool module test/tools, so that their dependencies never touch ours; the first
# use builds them, which takes a minute or two.
TOOL    := go tool -modfile=test/tools/go.mod
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

.PHONY: build run test check proto bench chaos vm

build: ; CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/bhnode ./cmd/bhnode
run: build ; ./bin/bhnode run
test: ; go test ./...
check: ; $(TOOL) buf lint proto && $(TOOL) buf breaking proto --against proto/baseline.binpb && go vet ./... && $(TOOL) golangci-lint run -c test/tools/golangci.yml ./... && go test -race -p 1 ./...
proto: ; $(TOOL) buf format -w proto && $(TOOL) buf generate proto --template proto/buf.gen.yaml
bench: ; go test -run '^$$' -bench . -benchmem ./...
chaos: ; SEED=$(SEED) FAULTS=$(or $(FAULTS),300) go test -count=1 -timeout 24h -v -run '^TestChaos$$' ./test/chaos
vm: ; BHNODE_VM=1 go test -count=1 -timeout 30m -v ./test/vm
