// SPDX-License-Identifier: Apache-2.0

/// The delivery-state that represents one without a number inside Proton.
enum UnknownState {
    /// The descriptor for an unknown symbolic state; no state of the standard uses it.
    static let code: UInt8 = 0xFF
}
