#if THREAD_SANITIZER
    internal import NIOConcurrencyHelpers

    /// Stands in for the standard library's type of this name under the thread sanitizer, which knows pthread's mutex and
    /// not that one's futex, and would take all that it protects for races.
    // Sendable: the value is touched under the lock alone.
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
