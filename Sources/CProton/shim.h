/* SPDX-License-Identifier: Apache-2.0 */

#ifndef SWIFT_QPID_PROTON_SHIM_H
#define SWIFT_QPID_PROTON_SHIM_H

#include <proton/codec.h>
#include <proton/condition.h>
#include <proton/connection.h>
#include <proton/connection_driver.h>
#include <proton/delivery.h>
#include <proton/disposition.h>
#include <proton/error.h>
#include <proton/event.h>
#include <proton/link.h>
#include <proton/logger.h>
#include <proton/object.h>
#include <proton/session.h>
#include <proton/terminus.h>
#include <proton/transport.h>
#include <proton/types.h>
#include <proton/version.h>

#endif
