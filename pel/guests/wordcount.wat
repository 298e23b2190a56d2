;; The guest of `wordcount.rs`, by hand: counts lines, words and bytes of input 0. ABI.md describes the imports.
(module
  (import "uor" "input_len" (func $input_len (param i32) (result i64)))
  (import "uor" "input_read" (func $input_read (param i32 i64 i32 i32) (result i32)))
  (import "uor" "params_len" (func $params_len (result i32)))
  (import "uor" "params_read" (func $params_read (param i32 i32 i32) (result i32)))
  (import "uor" "output_write" (func $output_write (param i32 i32)))

  ;; Page 0: a space at 0, a newline at 1, digits from 16 to 36. Page 1: the window.
  (memory (export "memory") 2 2)
  (data (i32.const 0) " \n")

  (func (export "run")
    (local $total i64) (local $offset i64) (local $lines i64) (local $words i64)
    (local $len i32) (local $at i32) (local $byte i32) (local $space i32) (local $in_word i32)
    (local.set $total (call $input_len (i32.const 0)))
    (block $read
      (loop $windows
        (br_if $read (i64.ge_u (local.get $offset) (local.get $total)))
        (local.set $len (call $input_read (i32.const 0) (local.get $offset) (i32.const 65536) (i32.const 65536)))
        (local.set $at (i32.const 0))
        (block $window
          (loop $bytes
            (br_if $window (i32.ge_u (local.get $at) (local.get $len)))
            (local.set $byte (i32.load8_u offset=65536 (local.get $at)))
            ;; A space, or one of the five controls from 9 to 13.
            (local.set $space
              (i32.or
                (i32.eq (local.get $byte) (i32.const 32))
                (i32.lt_u (i32.sub (local.get $byte) (i32.const 9)) (i32.const 5))))
            (local.set $lines
              (i64.add (local.get $lines) (i64.extend_i32_u (i32.eq (local.get $byte) (i32.const 10)))))
            (local.set $words
              (i64.add (local.get $words)
                (i64.extend_i32_u (i32.eqz (i32.or (local.get $space) (local.get $in_word))))))
            (local.set $in_word (i32.eqz (local.get $space)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $bytes)))
        (local.set $offset (i64.add (local.get $offset) (i64.extend_i32_u (local.get $len))))
        (br $windows)))
    (call $number (local.get $lines))
    (call $output_write (i32.const 0) (i32.const 1))
    (call $number (local.get $words))
    (call $output_write (i32.const 0) (i32.const 1))
    (call $number (local.get $total))
    (call $name)
    (call $output_write (i32.const 1) (i32.const 1)))

  (func $number (param $rest i64)
    (local $at i32)
    (local.set $at (i32.const 36))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $rest) (i64.const 10)))))
      (local.set $rest (i64.div_u (local.get $rest) (i64.const 10)))
      (br_if $digits (i64.ne (local.get $rest) (i64.const 0))))
    (call $output_write (local.get $at) (i32.sub (i32.const 36) (local.get $at))))

  (func $name
    (local $total i32) (local $offset i32) (local $len i32)
    (local.set $total (call $params_len))
    (if (i32.eqz (local.get $total)) (then (return)))
    (call $output_write (i32.const 0) (i32.const 1))
    (loop $windows
      (local.set $len (call $params_read (local.get $offset) (i32.const 65536) (i32.const 65536)))
      (call $output_write (i32.const 65536) (local.get $len))
      (local.set $offset (i32.add (local.get $offset) (local.get $len)))
      (br_if $windows (i32.lt_u (local.get $offset) (local.get $total))))))
