# What `sam build` runs for each function. All functions are the same files, so the first call makes the bundle and
# the others copy it; the upload, too, happens once, because the archives have the same hash.
#
# BUNDLE_FOR=lambda   (default) packages for Python 3.13 on arm64 Linux; needs python3.13 for its byte code
# BUNDLE_FOR=x86_64   the same for x86-64
# BUNDLE_FOR=host     packages for the Python that runs make, for an emulator on this machine

BUNDLE_FOR ?= lambda
BUNDLE := .aws-sam/bundle-$(BUNDLE_FOR)
STAMP := $(BUNDLE).stamp
SOURCES := $(shell find functions shared -type f -not -name '*.pyc')

ifeq ($(BUNDLE_FOR),host)
PYTHON ?= python3
PLATFORM :=
else
PYTHON ?= python3.13
machine := $(if $(filter x86_64,$(BUNDLE_FOR)),x86_64,aarch64)
PLATFORM := --python-version 3.13 --implementation cp --only-binary :all: \
	--platform manylinux2014_$(machine) --platform manylinux_2_17_$(machine) --platform manylinux_2_28_$(machine)
endif

.PHONY: bundle
bundle: $(STAMP)

$(STAMP): Makefile requirements/lambda.txt $(SOURCES)
	rm -rf $(BUNDLE)
	mkdir -p $(BUNDLE)
	$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --no-compile \
		$(PLATFORM) --target $(BUNDLE) -r requirements/lambda.txt
	rm -rf $(BUNDLE)/bin
	tar -cf - --exclude __pycache__ functions shared | tar -xf - -C $(BUNDLE)
	rm -rf $(BUNDLE)/functions/local
# Lambda's file system is read-only and its time stamps are not ours: byte code that is never checked against its
# source saves half of the import time of a cold start.
	$(PYTHON) -m compileall -q -j 0 --invalidation-mode unchecked-hash $(BUNDLE)
	touch $(STAMP)

build-%: $(STAMP)
	cp -Rl $(BUNDLE)/. "$(ARTIFACTS_DIR)" 2>/dev/null || cp -R $(BUNDLE)/. "$(ARTIFACTS_DIR)"
