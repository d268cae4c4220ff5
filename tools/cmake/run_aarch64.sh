#!/bin/sh
# Runs an aarch64 program with the cross compiler's libraries. One word, so that it can stand wherever a program can.
exec qemu-aarch64 -L /usr/aarch64-linux-gnu "$@"
