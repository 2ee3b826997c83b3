import NIOCore
import Synchronization

/// The properties of a message as they came, which have been looked through and found in order: nothing here can fail.
///
/// They share the memory of the buffer that they were decoded from, and are made when the first of them is asked for.
final class EncodedProperties: Sendable {
    /// The fields, from the first byte on.
    private let bytes: ByteBuffer
    private let count: Int
    private let made = AtomicLazyReference<CopyOnWriteBox<AMQPProperties.Fields>>()

    init(_ bytes: ByteBuffer, count: Int) {
        self.bytes = bytes
        self.count = count
    }

    /// Not to be changed: others may read them.
    var fields: CopyOnWriteBox<AMQPProperties.Fields> {
        if let made = self.made.load() { return made }
        let fields = CopyOnWriteBox(AMQPProperties.Fields())
        _ = ValueReader.passed(self.bytes) { (reader) throws(CodecFault) in
            try reader.readProperties(self.count, into: &fields.value)
        }
        return self.made.storeIfNil(fields)
    }
}
