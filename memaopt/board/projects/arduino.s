/* In the manner of Arduino's cores: .data copied, .bss cleared, SystemInit, then main, which calls setup and loop. */
.syntax unified
.thumb

.section .text.Reset_Handler,"ax",%progbits
.global Reset_Handler
.type Reset_Handler, %function
.thumb_func
Reset_Handler:
  ldr r1, =__etext
  ldr r2, =__data_start__
  ldr r3, =__data_end__
  subs r3, r3, r2
  ble .L_loop1_done
.L_loop1:
  subs r3, r3, #4
  ldr r0, [r1, r3]
  str r0, [r2, r3]
  bgt .L_loop1
.L_loop1_done:
  ldr r1, =__bss_start__
  ldr r2, =__bss_end__
  movs r0, #0
  subs r2, r2, r1
  ble .L_loop3_done
.L_loop3:
  subs r2, r2, #4
  str r0, [r1, r2]
  bgt .L_loop3
.L_loop3_done:
  bl SystemInit
  bl main
1:
  b 1b
.size Reset_Handler, .-Reset_Handler

.section .text.Default_Handler,"ax",%progbits
.type Default_Handler, %function
.thumb_func
Default_Handler:
  b .
.size Default_Handler, .-Default_Handler

.section .isr_vector,"a",%progbits
.balign 4
.type __isr_vector, %object
.global __isr_vector
__isr_vector:
  .word __StackTop
  .word Reset_Handler
  .rept 14
  .word Default_Handler
  .endr
.size __isr_vector, .-__isr_vector
