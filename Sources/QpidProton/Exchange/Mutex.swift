// SPDX-License-Identifier: Apache-2.0

#if THREAD_SANITIZER
    internal import NIOConcurrencyHelpers

    /// The replacement of the standard library's type under the thread sanitizer. The sanitizer recognises pthread's
    /// mutex but not a futex, and would report races.
    // Sendable: the value is accessed under the lock only.
    final class Mutex<Value>: @unchecked Sendable {
        private let lock = NIOLock()
        private var value: Value

        init(_ value: sending Value) {
            self.value = value
        }

        func withLock<Result, Failure: Error>(
            _ body: (inout sending Value) throws(Failure) -> sending Result
        ) throws(Failure) -> sending Result {
            self.lock.lock()
            defer { self.lock.unlock() }
            return try body(&self.value)
        }
    }
#endif
