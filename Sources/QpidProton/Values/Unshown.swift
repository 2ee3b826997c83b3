// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
    /// The bytes in hexadecimal, two digits per byte.
    var hex: String { self.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}

/// A value of another library that is not printed, because it may change in the meantime.
struct Unshown<Value: Sendable>: Sendable, CustomReflectable {
    var value: Value

    var customMirror: Mirror { Mirror(self, children: []) }
}
