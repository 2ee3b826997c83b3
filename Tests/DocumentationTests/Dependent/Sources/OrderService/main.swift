// SPDX-License-Identifier: Apache-2.0

import QpidProton

print(AMQPURL.defaultPort)
