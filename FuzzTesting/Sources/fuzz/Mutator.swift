// SPDX-License-Identifier: Apache-2.0

import FuzzEntries

@_silgen_name("LLVMFuzzerMutate")
private func mutate(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int) -> Int

/// Changes an input. In a stream of frames, most changes affect whole frames and correct their sizes, because almost
/// any other change would end the connection.
@_cdecl("LLVMFuzzerCustomMutator")
public func customMutator(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32) -> Int {
    var random = Mutator(seed: UInt64(seed))
    guard Fuzz.target?.hasFrames == true, random.below(8) > 0 else { return mutate(bytes, count, room) }
    let memory = UnsafeMutableBufferPointer(start: bytes, count: room)
    let changed = random.change(Array(memory[..<count]))
    let fitting = changed.prefix(room)
    _ = memory.update(fromContentsOf: fitting)
    return fitting.count
}

/// One change of one input.
struct Mutator {
    private var state: UInt64

    init(seed: UInt64) {
        self.state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
    }

    mutating func below(_ bound: Int) -> Int {
        self.state ^= self.state << 13
        self.state ^= self.state >> 7
        self.state ^= self.state << 17
        return Int(self.state >> 33) % bound
    }

    mutating func change(_ input: [UInt8]) -> [UInt8] {
        var frames = Self.split(input)
        let index = self.below(frames.count)
        switch self.below(10) {
        case 0: frames.insert(frames[index], at: self.below(frames.count + 1))
        case 1: frames.swapAt(index, self.below(frames.count))
        case 2 where frames.count > 1: frames.remove(at: index)
        case 3: frames[index] = Self.changed(frames[index], room: frames[index].count + 16)
        case 4: return Array(frames[...index].joined())
        default: frames[index] = self.changedBody(frames[index])
        }
        return Array(frames.joined())
    }

    /// Splits an input into its first bytes, the protocol headers, and the frames.
    private static func split(_ input: [UInt8]) -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var rest = input[...]
        // A connection's input has one byte before the stream. An observer's input also has the lengths that it counts.
        for start in [1, 1 + Int(input.first ?? 0) & 15] where frames.isEmpty {
            guard Self.size(rest.dropFirst(start)) != nil else { continue }
            frames.append(Array(rest.prefix(start)))
            rest = rest.dropFirst(start)
        }
        while let size = Self.size(rest) {
            frames.append(Array(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        if !rest.isEmpty || frames.isEmpty { frames.append(Array(rest)) }
        return frames
    }

    private static func size(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard bytes.count >= 8 else { return nil }
        if bytes.starts(with: Array("AMQP".utf8)) { return 8 }
        let size = bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        return (8...bytes.count).contains(size) ? size : nil
    }

    /// Changes the bytes behind a frame's head, and corrects the frame's size, and usually that of its list.
    private mutating func changedBody(_ frame: [UInt8]) -> [UInt8] {
        guard frame.count > 8, !frame.starts(with: Array("AMQP".utf8)) else { return Self.changed(frame, room: 16) }
        let isWhole = self.below(3) > 0
        let start = isWhole && frame.count > 14 ? 14 : 8
        let old = Array(frame[start...])
        let body = Self.changed(old, room: old.count + 16)
        var changed = Array(frame[..<start]) + body
        withUnsafeBytes(of: UInt32(changed.count).bigEndian) { changed.replaceSubrange(0..<4, with: $0) }
        // The frame has a short list behind its descriptor, and no payload.
        if isWhole, start == 14, frame[11] == 0xC0, Int(frame[12]) == frame.count - 13 {
            changed[12] = UInt8(truncatingIfNeeded: changed.count - 13)
            if self.below(8) == 0 { changed[13] = changed[13] &+ 1 }
        }
        return changed
    }

    private static func changed(_ bytes: [UInt8], room: Int) -> [UInt8] {
        var memory = bytes + Array(repeating: 0, count: max(0, room - bytes.count))
        let count = memory.withUnsafeMutableBufferPointer { memory in
            memory.baseAddress.map { mutate($0, bytes.count, memory.count) } ?? 0
        }
        return Array(memory.prefix(count))
    }
}
