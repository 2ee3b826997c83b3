extension [UInt8] {
    /// Two digits a byte.
    var hex: String { self.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}

/// A value of another library, which may change while it is looked at.
struct Unshown<Value: Sendable>: Sendable, CustomReflectable {
    var value: Value

    var customMirror: Mirror { Mirror(self, children: []) }
}
