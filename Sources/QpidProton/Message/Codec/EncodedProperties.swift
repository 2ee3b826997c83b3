// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// The properties of a message in their received form. The decoder has checked the bytes, so reading cannot fail.
///
/// The properties share the memory of the decoded buffer. The first access creates the fields.
final class EncodedProperties: Sendable {
    typealias Box = CopyOnWriteBox<AMQPProperties.Fields>

    /// The encoded fields, starting at the first byte.
    private let bytes: ByteBuffer
    private let count: Int
    /// A reference to the box, once it exists. An `AtomicLazyReference` would look up its metadata at each access.
    private let made = Atomic<Unmanaged<Box>?>(nil)

    init(_ bytes: ByteBuffer, count: Int) {
        self.bytes = bytes
        self.count = count
    }

    deinit {
        if let made = self.made.load(ordering: .acquiring) { made.release() }
    }

    /// The shared box of the fields. The caller must not change it, because other tasks may read it.
    var fields: Box {
        if let made = self.made.load(ordering: .acquiring) { return made.takeUnretainedValue() }
        return self.make()
    }

    private func make() -> Box {
        let box = Box(AMQPProperties.Fields())
        _ = ValueReader.passed(self.bytes) { (reader) throws(CodecFault) in
            try reader.readProperties(self.count, into: &box.value)
        }
        let new = Unmanaged.passRetained(box)
        let (isFirst, old) = self.made.compareExchange(expected: nil, desired: new, ordering: .acquiringAndReleasing)
        guard !isFirst, let old else { return box }
        new.release()
        return old.takeUnretainedValue()
    }
}
