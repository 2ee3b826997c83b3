# SPDX-License-Identifier: Apache-2.0

"""The measuring of dev/bench: see its --help."""
