/* SPDX-License-Identifier: Apache-2.0 */
/* Purpose: the list of peers where none was found. */
#include "tests/bench/ann_peers.h"

const struct ann_peer ann_peers[] = {{0}};
