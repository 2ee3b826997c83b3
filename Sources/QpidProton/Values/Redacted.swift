// SPDX-License-Identifier: Apache-2.0

/// A secret whose text never reaches a description, a dump or a log; only code that reads ``value`` sees it.
struct Redacted<Value: Hashable & Sendable>: Hashable, Sendable {
    var value: Value

    init(_ value: Value) {
        self.value = value
    }
}

extension Redacted: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    var description: String { "***" }
    var debugDescription: String { "***" }
    var customMirror: Mirror { Mirror(self, children: []) }
}
