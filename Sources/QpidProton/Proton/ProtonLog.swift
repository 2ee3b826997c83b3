// SPDX-License-Identifier: Apache-2.0

internal import CProton
internal import Logging

/// The route of one transport's Proton log into a swift-log logger. By default Proton writes to the standard error.
final class ProtonLog {
    private let logger: Logger

    /// Starts the route. It does not enable Proton's own trace of frames: see ``FrameTrace``.
    init(_ transport: OpaquePointer, _ logger: Logger) {
        self.logger = logger
        let proton = pn_transport_logger(transport)
        pn_logger_set_log_sink(
            proton,
            { context, _, severity, message in
                guard let message, let pointer = UnsafeRawPointer(bitPattern: context) else { return }
                let log = Unmanaged<ProtonLog>.fromOpaque(pointer).takeUnretainedValue()
                log.write(severity, String(cString: message))
            },
            // The engine holds this object until the transport is freed.
            Int(bitPattern: Unmanaged.passUnretained(self).toOpaque())
        )
    }

    private func write(_ severity: pn_log_level_t, _ message: String) {
        let level: Logger.Level = severity == PN_LEVEL_FRAME || severity == PN_LEVEL_TRACE ? .trace : .debug
        self.logger.log(level: level, "proton", metadata: .amqp([.detail: "\(message)"]))
    }
}
