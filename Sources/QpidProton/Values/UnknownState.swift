// SPDX-License-Identifier: Apache-2.0

/// The stand-in inside Proton for a delivery-state with an unknown symbolic descriptor.
enum UnknownState {
    /// The numeric descriptor of the stand-in; no state of the standard uses it.
    static let code: UInt8 = 0xFF
}
