// SPDX-License-Identifier: Apache-2.0

internal import CProton
internal import Logging

/// The owner of one `pn_connection_driver_t`, with its connection and its transport. It turns received bytes into
/// events, and calls into output bytes. It belongs to one event loop.
///
/// A connection is never bound to a second transport, because its counters would underflow (P23).
struct ProtonEngine: ~Copyable {
    private let driver: UnsafeMutablePointer<pn_connection_driver_t>
    /// The destination of Proton's log, which must outlive Proton.
    private let logs = Logs()

    private final class Logs {
        var log: ProtonLog?
    }

    init() throws(AMQPError) {
        self.driver = .allocate(capacity: 1)
        guard pn_connection_driver_init(self.driver, nil, nil) == 0 else {
            self.driver.deallocate()
            throw AMQPError(condition: .resourceLimitExceeded, detail: "Proton could not allocate a connection")
        }
    }

    deinit {
        // Free Proton before its log. The log is freed with the members.
        pn_connection_driver_destroy(self.driver)
        self.driver.deallocate()
    }

    var connection: OpaquePointer { self.driver.pointee.connection }
    var transport: OpaquePointer { self.driver.pointee.transport }

    /// Routes Proton's log to a logger.
    func log(to logger: Logger) {
        self.logs.log = ProtonLog(self.transport, logger)
    }

    /// Binds the transport, so that the open frame contains earlier settings.
    func bind() {
        pn_connection_driver_bind(self.driver)
    }

    /// Passes bytes from the socket to Proton. Returns the number of bytes that Proton accepted: fewer than all once
    /// Proton has stopped reading.
    func read(_ bytes: UnsafeRawBufferPointer) -> Int {
        var offset = 0
        while offset < bytes.count {
            let room = pn_connection_driver_read_buffer(self.driver)
            guard room.size > 0, let start = room.start else { break }
            let count = min(Int(room.size), bytes.count - offset)
            UnsafeMutableRawPointer(start).copyMemory(from: bytes.baseAddress! + offset, byteCount: count)
            pn_connection_driver_read_done(self.driver, count)
            offset += count
        }
        return offset
    }

    /// Passes all output of Proton to `body`, piece by piece.
    func write(_ body: (UnsafeRawBufferPointer) -> Void) {
        while true {
            let bytes = pn_connection_driver_write_buffer(self.driver)
            guard bytes.size > 0 else { return }
            body(UnsafeRawBufferPointer(start: bytes.start, count: bytes.size))
            pn_connection_driver_write_done(self.driver, bytes.size)
            // Proton fills its buffer while it has output, so a partly filled buffer is the last buffer, except at the
            // end of the output.
            if bytes.size < Self.leastOutputBuffer, !self.mayEndOutput { return }
        }
    }

    /// The smallest buffer that Proton 0.37 fills with output, in bytes.
    private static let leastOutputBuffer = 8_192
    private var mayEndOutput: Bool {
        pn_connection_state(self.connection) & PN_LOCAL_CLOSED != 0
            || pn_condition_is_set(pn_transport_condition(self.transport))
    }

    /// Returns the next event. Its objects are valid until the next call.
    func nextEvent() -> ProtonEvent? {
        while let event = pn_connection_driver_next_event(self.driver) {
            if let known = ProtonEvent(event) { return known }
        }
        return nil
    }

    /// Closes both halves.
    func closeBoth() { pn_connection_driver_close(self.driver) }
    func closeRead() { pn_connection_driver_read_close(self.driver) }
    var isReadClosed: Bool { pn_connection_driver_read_closed(self.driver) }
    var isWriteClosed: Bool { pn_connection_driver_write_closed(self.driver) }
}
