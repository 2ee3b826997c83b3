// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
    /// Two digits per byte.
    var hex: String { self.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}

/// A value of another library, which may change while it is printed.
struct Unshown<Value: Sendable>: Sendable, CustomReflectable {
    var value: Value

    var customMirror: Mirror { Mirror(self, children: []) }
}
