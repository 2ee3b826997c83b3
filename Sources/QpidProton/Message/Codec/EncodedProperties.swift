import NIOCore
import Synchronization

/// The properties of a message as they came, which have been looked through and found in order: nothing here can fail.
///
/// They share the memory of the buffer that they were decoded from, and are made when the first of them is asked for.
final class EncodedProperties: Sendable {
    typealias Box = CopyOnWriteBox<AMQPProperties.Fields>

    /// The fields, from the first byte on.
    private let bytes: ByteBuffer
    private let count: Int
    /// A reference to the box, once it is made. An `AtomicLazyReference` looks up its metadata each time.
    private let made = Atomic<Unmanaged<Box>?>(nil)

    init(_ bytes: ByteBuffer, count: Int) {
        self.bytes = bytes
        self.count = count
    }

    deinit {
        if let made = self.made.load(ordering: .acquiring) { made.release() }
    }

    /// Not to be changed: others may read them.
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
