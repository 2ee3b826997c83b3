// SPDX-License-Identifier: Apache-2.0

import Testing

/// The rules of Proton 0.37 that tests refer to. `ARCHITECTURE.md` has the key.
extension Tag {
    @Tag static var p1: Self
    @Tag static var p3: Self
    @Tag static var p4: Self
    @Tag static var p6: Self
    @Tag static var p7: Self
    @Tag static var p8: Self
    @Tag static var p10: Self
    @Tag static var p11: Self
    @Tag static var p12: Self
    @Tag static var p13: Self
    @Tag static var p17: Self
    @Tag static var p21: Self
    @Tag static var p23: Self
    @Tag static var p29: Self
    @Tag static var p30: Self
    @Tag static var p31: Self
    @Tag static var p32: Self
    @Tag static var p33: Self
    @Tag static var p34: Self
    @Tag static var p35: Self
    @Tag static var p36: Self
    @Tag static var p40: Self
    @Tag static var p43: Self
    @Tag static var p45: Self
    @Tag static var p46: Self
    @Tag static var p47: Self
    @Tag static var p48: Self
    @Tag static var p49: Self
    @Tag static var p50: Self
    @Tag static var p54: Self
    @Tag static var p55: Self
    @Tag static var p56: Self
    @Tag static var p57: Self
    @Tag static var p59: Self
    @Tag static var p60: Self
}
