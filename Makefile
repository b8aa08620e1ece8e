# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The two commands of the README: `make demo` and `make check`. Everything else is CMake's business.

BUILD ?= build
BUILD_TYPE ?= RelWithDebInfo
JOBS ?= $(shell nproc)
# Scratch space of `make demo`.
DEMO ?= $(BUILD)/demo

# Everything anas needs on Debian 12, in one list. `make deps` installs what is missing and says so.
PACKAGES := \
  gcc cmake ninja-build ccache mold pkg-config \
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools \
  libffi-dev libsqlite3-dev libxxhash-dev libjansson-dev zlib1g-dev libjpeg62-turbo-dev libseccomp-dev libpq-dev libcmocka-dev \
  sqlite3 jq libxml2-utils dataset-fashion-mnist postgresql slurm-wlm munge

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: all deps configure demo check check-asan check-format lint docs clean install

all: configure
	cmake --build $(BUILD) -j $(JOBS)

deps:
	@missing=""; \
	for p in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -z "$$missing" ]; then \
	  echo "deps: all packages are installed: $(PACKAGES)"; \
	else \
	  echo "deps: installing with apt-get:$$missing"; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

configure: deps
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=$(BUILD_TYPE) >$(BUILD).configure.log 2>&1 || \
	  { cat $(BUILD).configure.log; rm -f $(BUILD).configure.log; exit 1; }
	@rm -f $(BUILD).configure.log

# Searches from the small CNN on Fashion-MNIST and prints the front.
demo: all
	@sh test/demo.sh $(BUILD)/bin $(DEMO)

check: all
	cd $(BUILD) && ctest --output-on-failure -j $(JOBS)

# The same tests under AddressSanitizer and UndefinedBehaviorSanitizer, in a build directory of their own.
check-asan: deps
	cmake -S . -B $(BUILD)-asan -G Ninja -DANAS_SANITIZE=ON >/dev/null
	cmake --build $(BUILD)-asan -j $(JOBS)
	cd $(BUILD)-asan && ctest --output-on-failure -j $(JOBS)

# The reference pages that come from the op table and the pass table.
docs: all
	$(BUILD)/bin/anas-opt --list-ops=markdown >docs/dialect.md
	$(BUILD)/bin/anas-opt --list-passes=markdown >docs/passes.md

# Formatting and static analysis; needs the packages clang-format, clang-tidy.
check-format:
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run --Werror

lint: configure
	git ls-files '*.c' | grep -v ^test/ | xargs -P $(JOBS) -n 4 clang-tidy -p $(BUILD) --quiet

install: all
	cmake --install $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-asan
