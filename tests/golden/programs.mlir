module {
  "snn.graph"() {version = 1 : i64, name = "main", dt = 0.001 : f64, record_offset = 0 : i64, source = "", digest = "", notes = []} : () -> ()
  %x = "snn.input"() {node = "x", signal = !snn.analog<tensor<2xf32>>, metadata = []} : () -> !snn.analog<tensor<2xf32>>
  %whole = "snn.step"(%x) {node = "whole", dynamics = @whole, params = [["k", dense<1.0> : tensor<f32>]], model = "", unit = dense<0.5> : tensor<f32>, bits = 8 : i64, metadata = []} : (!snn.analog<tensor<2xf32>>) -> !snn.analog<tensor<2xf32>>
  %logic:2 = "snn.step_1_2"(%whole) {node = "logic", dynamics = @p, params = [], model = "", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<2xf32>>) -> (!snn.analog<tensor<2xf32>>, !snn.spikes<tensor<2xf32>>)
  %plus = "snn.step"(%logic#0) {node = "plus", dynamics = @m_1, params = [], model = "", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<2xf32>>) -> !snn.analog<tensor<2xf32>>
  %minus = "snn.step"(%plus) {node = "minus", dynamics = @m_1_2, params = [], model = "", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<2xf32>>) -> !snn.analog<tensor<2xf32>>
  %again = "snn.step"(%minus) {node = "again", dynamics = @m_1, params = [], model = "", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<2xf32>>) -> !snn.analog<tensor<2xf32>>
  "snn.output"(%again) {name = "output"} : (!snn.analog<tensor<2xf32>>) -> ()
  module @whole {
    "snn.program"() {name = "whole", dtype = "i32"} : () -> ()
    %whole.x = "snn.program_input"() {name = "x"} : () -> i32
    %whole.k = "snn.program_param"() {name = "k", unit = "1"} : () -> i32
    %whole.v = "snn.program_state"() {name = "v", initial = "k", lasting = false} : () -> i32
    %whole.c = "snn.constant"() {value = 3.0 : f64} : () -> i32
    %whole.s = "snn.scalar_shr"(%whole.x, %whole.c) {name = "s"} : (i32, i32) -> i32
    %whole.c_2 = "snn.constant"() {value = 7.0 : f64} : () -> i32
    %whole.t = "snn.scalar_floordiv"(%whole.s, %whole.c_2) {name = "t"} : (i32, i32) -> i32
    "snn.program_next"(%whole.t) {state = "v"} : (i32) -> ()
    "snn.program_emit"(%whole.s) {kind = "analog"} : (i32) -> ()
  }
  module @p {
    "snn.program"() {name = "", dtype = "f64"} : () -> ()
    %p.x = "snn.program_input"() {name = "x"} : () -> f64
    %p.v = "snn.program_state"() {name = "v", initial = -0.0 : f64, lasting = false} : () -> f64
    %p.c = "snn.constant"() {value = 0.1 : f64} : () -> f64
    %p.a = "snn.scalar_gt"(%p.x, %p.c) {name = "a"} : (f64, f64) -> i1
    %p.b = "snn.scalar_le"(%p.x, %p.v) {name = "b"} : (f64, f64) -> i1
    %p.c_2 = "snn.scalar_and"(%p.a, %p.b) {name = "c"} : (i1, i1) -> i1
    %p.d = "snn.scalar_not"(%p.c_2) {name = "d"} : (i1) -> i1
    %p.c_3 = "snn.constant"() {value = -0.0 : f64} : () -> f64
    %p.s = "snn.scalar_select"(%p.d, %p.x, %p.c_3) {name = "s"} : (i1, f64, f64) -> f64
    %p.e = "snn.scalar_cast"(%p.d) {name = "e"} : (i1) -> f64
    %p.c_4 = "snn.constant"() {value = 0x7FF0000000000000 : f64} : () -> f64
    "snn.program_next"(%p.c_4) {state = "v"} : (f64) -> ()
    "snn.program_emit"(%p.s) {kind = "analog"} : (f64) -> ()
    "snn.program_emit"(%p.e) {kind = "spikes"} : (f64) -> ()
  }
  module @m_1 {
    "snn.program"() {name = "m-1", dtype = "f32"} : () -> ()
    %m_1.x = "snn.program_input"() {name = "x"} : () -> f32
    %m_1.c = "snn.constant"() {value = 0.0 : f64} : () -> f32
    %m_1.s = "snn.scalar_add"(%m_1.x, %m_1.c) {name = "s"} : (f32, f32) -> f32
    "snn.program_emit"(%m_1.s) {kind = "analog"} : (f32) -> ()
  }
  module @m_1_2 {
    "snn.program"() {name = "m-1", dtype = "f32"} : () -> ()
    %m_1_2.x = "snn.program_input"() {name = "x"} : () -> f32
    %m_1_2.c = "snn.constant"() {value = -0.0 : f64} : () -> f32
    %m_1_2.s = "snn.scalar_add"(%m_1_2.x, %m_1_2.c) {name = "s"} : (f32, f32) -> f32
    "snn.program_emit"(%m_1_2.s) {kind = "analog"} : (f32) -> ()
  }
}
