/// The delivery-state that stands for one without a number, on its way through Proton.
enum UnknownState {
    /// The descriptor of a state that is not known here, for one with a symbol: no state of the standard has it.
    static let code: UInt8 = 0xFF
}
