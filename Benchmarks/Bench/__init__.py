# SPDX-License-Identifier: Apache-2.0

"""The measurements of dev/bench: see `dev/bench --help`."""
