//! System calls past the C library.
//!
//! A child that has not executed its program yet shares the parent's memory, and with it the
//! thread's `errno`, which the parent is using at the same time. So what runs there calls the kernel
//! itself, and gets errors as results.

use std::arch::asm;
use std::ffi::{c_int, c_long};

/// Calls the kernel.
///
/// # Safety
/// What this call asks for.
#[inline(always)]
pub(super) unsafe fn call(number: c_long, args: [usize; 5]) -> Result<usize, c_int> {
    let [a, b, c, d, e] = args;
    let result: isize;
    // SAFETY: the kernel's calling convention, by which all other registers are kept; the rest is
    // the caller's promise.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            in("x8") number as isize,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack),
        );
    }
    if result < 0 { Err(result.wrapping_neg() as c_int) } else { Ok(result as usize) }
}
