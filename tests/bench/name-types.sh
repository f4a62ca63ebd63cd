#!/bin/sh
# A wrapper for rustc: the symbols of generic code hold its types, so that a stack tells which operation it is part of.
exec "$@" -C symbol-mangling-version=v0
