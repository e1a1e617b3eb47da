# The developers' door: builds everything, installs nothing (./coco setup
# does that). `make help` lists the targets.

BUILD     ?= build
BIN       ?= bin
CC        ?= gcc
OPT       ?= -O2 -g
WARN      := -Wall -Wextra -Werror -Wno-unused-parameter -Wmissing-prototypes \
             -Wpointer-arith -Wshadow
CFLAGS    := -std=gnu11 $(OPT) $(WARN) -D_GNU_SOURCE -fno-strict-aliasing \
             -fvisibility=hidden -pthread $(SAN) $(EXTRA_CFLAGS)
LDFLAGS   := -pthread $(SAN)

WORKER_PKGS := libpq hiredis libcrypto libmicrohttpd libsystemd inih libcurl \
               librabbitmq rdkafka libmosquitto
WORKER_LIBS  = $(shell pkg-config --libs $(WORKER_PKGS)) -lpaho-mqtt3as -lm
PKG_CFLAGS  := $(shell pkg-config --cflags $(WORKER_PKGS) 2>/dev/null)

CORE_SRC   := $(wildcard src/core/*.c)
WORKER_SRC := $(wildcard workers/*.c workers/*/*.c)
SIM_SRC    := $(wildcard sim/*.c)
TEST_SRC   := $(wildcard tests/unit/*_test.c)
FUZZ_SRC   := $(wildcard tests/fuzz/*_fuzz.c)

# One short line for each step; V=1 shows the commands.
Q          := $(if $(V),,@)
say         = @printf '  %-5s %s\n' $(1) $(2)

objects     = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
CORE_LIB   := $(BUILD)/libcoco_core.a
WORKER_LIB := $(BUILD)/libcoco_worker.a
TESTS      := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(TEST_SRC))
FUZZERS    := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
MODULE     := $(BUILD)/ngx_coco_module.so

NGINX_SRC  ?= /usr/share/nginx/src

PROGRAMS   := $(addprefix $(BIN)/,coco-worker coco-sim coco-kafka)

all: $(MODULE) $(PROGRAMS) $(BUILD)/machines  ## builds everything

help:                               ## lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' Makefile | expand -t 16

# --- C ----------------------------------------------------------------------

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -Isrc/core -Iworkers $(PKG_CFLAGS) -c -o $@ $<

$(CORE_LIB): $(call objects,$(CORE_SRC))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(WORKER_LIB): $(call objects,$(filter-out workers/main.c,$(WORKER_SRC)))
	$(call say,AR,$@)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BIN)/coco-worker: $(BUILD)/obj/workers/main.o $(WORKER_LIB) $(CORE_LIB)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(WORKER_LIBS)

$(BIN)/coco-sim: $(call objects,$(SIM_SRC))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lmosquitto -ljansson -lcurl -lm

$(BIN)/coco-kafka: $(call objects,sim/kafka/main.c)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lrdkafka

$(BUILD)/machines: $(BUILD)/obj/docs/machines.o $(CORE_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lcrypto -lm

$(BUILD)/tests/%: tests/unit/%.c $(WORKER_LIB) $(CORE_LIB)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(CFLAGS) -Isrc/core -Iworkers $(PKG_CFLAGS) -o $@ $^ \
	    -lcmocka -ljansson $(WORKER_LIBS)

$(BUILD)/tests/sim_%: tests/unit/sim_%.c \
    $(call objects,$(filter-out sim/main.c,$(SIM_SRC)))
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $^ -lcmocka -ljansson -lmosquitto -lcurl -lm

# the planner for Python, see tests/planner
$(BUILD)/tests/planner.so: tests/planner/planner.c $(CORE_SRC) \
                           $(wildcard src/core/*.h)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -fPIC -shared -Isrc/core -o $@ $< $(CORE_SRC) \
	    -lcrypto -ljansson -lm

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# --- nginx module -----------------------------------------------------------

NGINX_TREE  := $(BUILD)/nginx
MODULE_SRC  := $(wildcard ngx_coco_*.c src/nginx/*.c src/core/*.c)
PROTO       := proto/coco/fleet/v1/fleet.proto
MODULE_DEPS := $(MODULE_SRC) $(wildcard ngx_coco_*.h src/nginx/*.h src/core/*.h)
COCO_CFLAGS ?= -O2 -Wall -Wextra -Werror -Wno-unused-parameter \
               -Wno-missing-field-initializers

# nginx's configure takes no path with a space: ours is given relative to its
# tree. Re-made when the recipe, the list of files or the messages change.
$(BUILD)/module-files: FORCE
	@mkdir -p $(@D)
	@echo '$(MODULE_SRC) $(COCO_CFLAGS)' | cmp -s - $@ || \
	    echo '$(MODULE_SRC) $(COCO_CFLAGS)' > $@

$(NGINX_TREE)/objs/Makefile: config $(BUILD)/module-files $(PROTO)
	$(call say,NGINX,"configure in $(NGINX_TREE)")
	@rm -rf $(NGINX_TREE) && mkdir -p $(NGINX_TREE)
	@cp -r $(NGINX_SRC)/. $(NGINX_TREE)
	$(Q). $(NGINX_SRC)/conf_flags && cd $(NGINX_TREE) && \
	    COCO_CFLAGS="$(COCO_CFLAGS)" ./configure "$${NGX_CONF_FLAGS[@]}" \
	    --add-dynamic-module="$$(realpath --relative-to=. "$$OLDPWD")" \
	    > configure.log || \
	    { tail -n 20 configure.log; exit 1; }
$(NGINX_TREE)/objs/Makefile: SHELL := /bin/bash

$(MODULE): $(NGINX_TREE)/objs/Makefile $(MODULE_DEPS)
	$(call say,NGINX,$@)
	$(Q)$(MAKE) --no-print-directory $(if $(V),,-s) -C $(NGINX_TREE) \
	    -f objs/Makefile modules
	@cp $(NGINX_TREE)/objs/ngx_coco_module.so $@.new
	@mv $@.new $@    # a running nginx has the old one mapped

module: $(MODULE)                   ## builds the nginx module alone
worker: $(BIN)/coco-worker          ## builds the worker alone
sim: $(BIN)/coco-sim                ## builds the simulated robots alone
kafka: $(BIN)/coco-kafka            ## builds the stack's Kafka alone
tests: $(TESTS)                     ## builds the unit tests

# --- suites -----------------------------------------------------------------

test: all                           ## every suite
	scripts/test all

test-unit: $(TESTS)                 ## unit tests of core and worker
	scripts/test unit

test-nginx: $(MODULE)               ## the suites in t/ alone
	scripts/test nginx

docs: $(BUILD)/machines             ## draws the state machines anew
	$(BUILD)/machines < docs/machines.md > $(BUILD)/machines.md
	@mv $(BUILD)/machines.md docs/machines.md

lint:                               ## format, static analysis, boundaries
	scripts/lint

# libFuzzer, FUZZ_SECONDS each; the corpus is replayed by `make test-unit` too
FUZZ_SECONDS ?= 60

$(BUILD)/fuzz/%: tests/fuzz/%.c $(CORE_SRC) $(wildcard src/core/*.h \
                                           tests/fuzz/*.h)
	@mkdir -p $(@D)
	clang -std=gnu11 -O1 -g -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=all -Isrc/core -o $@ $< $(CORE_SRC) \
	    -lcrypto -ljansson -lm

fuzzers: $(FUZZERS)                 ## builds the fuzzers

fuzz: $(FUZZERS)                    ## fuzzes each decoder for FUZZ_SECONDS
	scripts/fuzz $(FUZZ_SECONDS)

test-valgrind: $(MODULE)            ## t/ with each nginx under memcheck
	scripts/test valgrind

asan:                               ## all suites under ASan and UBSan
	scripts/asan

bench: all                          ## measures, as ratios against peers
	bench/run

clean:                              ## removes what was built
	rm -rf $(BUILD) $(BIN)

FORCE:
.PHONY: all help module worker sim kafka tests test test-unit test-nginx \
        test-valgrind docs lint \
        fuzzers fuzz asan bench clean FORCE
.DELETE_ON_ERROR:
