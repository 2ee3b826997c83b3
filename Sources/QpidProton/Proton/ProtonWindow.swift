// SPDX-License-Identifier: Apache-2.0

internal import CProton

/// The incoming window of a session in Proton.
///
/// Proton 0.37 divides a capacity in bytes by the frame size. Proton 0.40 divides in 32 bits, ends a session whose
/// window is used up, and has a function for windows in transfers.
enum ProtonWindow {
    private typealias SetWindow = @convention(c) (OpaquePointer, UInt32, UInt32) -> CInt

    private static let setWindow = ProtonVersion.function("pn_session_set_incoming_window_and_lwm")
        .map { unsafeBitCast($0, to: SetWindow.self) }

    /// Sets the window of a session that has not begun.
    ///
    /// - Parameters:
    ///   - transfers: The window in transfers. Proton renews it by itself when it is used up.
    ///   - frameSize: The largest frame that Proton accepts, in bytes.
    static func set(_ session: OpaquePointer, transfers: Int, frameSize: Int) {
        if let setWindow, setWindow(session, UInt32(clamping: transfers), 1) == 0 { return }
        pn_session_set_incoming_capacity(session, transfers * frameSize)
    }
}
